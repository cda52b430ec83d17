"""Every error the gateway raises, sorted by whose fault it is.

GatewayError
├── LocalError               our caller misused us: a bug to fix in the program
├── ConfigError              a setting is wrong: says the key, the value and the fix
├── PubSubError              the broker did not take or give a message in time
│   └── PublicationRefused     it said no, and would say so again
├── PeerError                the client did; carries the CloseReason it is told
│   ├── ProtocolViolation      1002  it broke RFC 6455
│   ├── InvalidText            1007  it sent text that is not UTF-8
│   ├── MessageTooBig          1009  it sent more than the limit
│   └── CommandError           a cable command we cannot carry out (socket stays open)
├── HandshakeRefused         an upgrade was answered with plain HTTP instead of 101
└── ConnectionClosed         sending to, or receiving from, a closed socket
    ├── ConnectionClosedOK     both sides said goodbye properly
    └── ConnectionClosedError  they did not
"""

from __future__ import annotations

from typing import NamedTuple

from gateway import reasons
from gateway.reasons import CloseReason

__all__ = [
    "Close",
    "CommandError",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "GatewayError",
    "HandshakeRefused",
    "InvalidText",
    "LocalError",
    "MessageTooBig",
    "PeerError",
    "ProtocolViolation",
    "PubSubError",
    "PublicationRefused",
]


class GatewayError(Exception):
    """Catch this to catch everything the gateway raises."""


class LocalError(GatewayError):
    """The program used the gateway in a way that cannot work; the message says how."""


class ConfigError(GatewayError):
    """A setting stops the start. Fields: ``key``, ``value``, ``fix``."""

    def __init__(self, key: str, value: object, fix: str) -> None:
        super().__init__(key, value, fix)
        self.key = key
        self.value = value
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.key} = {self.value!r} cannot be used: {self.fix}"


class PubSubError(GatewayError):
    """The broker did not take, or did not give, what was asked of it in time."""


class PublicationRefused(PubSubError):
    """The broker said no to a message: another attempt would not help."""


class PeerError(GatewayError):
    """The client did something it must not. ``reason`` is what it will be told."""

    reason: CloseReason = reasons.PROTOCOL_ERROR


class ProtocolViolation(PeerError):
    """The client broke a rule of RFC 6455."""


class InvalidText(PeerError):
    """A text message or a close reason is not UTF-8 (RFC 6455 §8.1)."""

    reason = reasons.INVALID_PAYLOAD


class MessageTooBig(PeerError):
    """A message exceeds a limit, before or after inflating, in bytes or fragments."""

    reason = reasons.MESSAGE_TOO_BIG


class CommandError(PeerError):
    """A cable command cannot be carried out. It is logged; the socket stays open."""

    reason = reasons.POLICY_VIOLATION


class HandshakeRefused(GatewayError):
    """An upgrade request gets a plain HTTP answer.

    Fields: ``status`` (int), ``explanation`` (one sentence, also the body), ``headers``
    (list of pairs to send along).
    """

    def __init__(
        self,
        status: int,
        explanation: str,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(status, explanation)
        self.status = status
        self.explanation = explanation
        self.headers = headers or []

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.explanation}"


class Close(NamedTuple):
    """The code and the text of a Close frame (RFC 6455 §7.1.5 and §7.1.6)."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class ConnectionClosed(GatewayError):
    """The socket is closed. ``received`` and ``sent`` are the Close frames, if any."""

    def __init__(self, received: Close | None, sent: Close | None) -> None:
        super().__init__(received, sent)
        self.received = received
        self.sent = sent

    def __str__(self) -> str:
        if self.received is None and self.sent is None:
            return "the connection was lost without a Close frame"
        received = self.received or "nothing"
        sent = self.sent or "nothing"
        return f"the connection is closed: received {received}, sent {sent}"


class ConnectionClosedOK(ConnectionClosed):
    """Both sides closed with 1000, 1001 or no code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection broke, or one side closed it because of an error."""
