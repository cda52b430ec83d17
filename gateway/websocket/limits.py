"""How much peers may ask of us. Every bound has a name, a default and a reason."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import cast

from gateway.errors import LocalError

__all__ = ["Limits", "check_seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds; a socket that exceeds one is closed with the reason named, and logged.

    Numbers are ints of at least 1, times are in seconds and over 0; what is None by
    default may be None.

    Raises:
        LocalError: a value makes no sense.

    >>> from gateway.websocket import Limits
    >>> Limits(max_message_bytes=64 * 1024).max_fragments
    131072
    """

    max_message_bytes: int = 2**20
    """Largest incoming message, before and after inflating (``message_too_big``)."""
    max_fragments: int = 2**17
    """Most frames one message may be cut into (``message_too_big``)."""
    max_queued_messages: int = 64
    """Messages that wait for the program before we stop reading the socket. TCP then
    slows the peer down and nobody is closed; but its pings are not answered either."""
    max_queued_bytes: int = 2**20
    """Bytes of messages that wait for it, inflated, before we do the same. What arrives
    is taken apart no further than this, so a socket holds at most twice as much, and
    one message."""
    max_outgoing_bytes: int = 2**20
    """Bytes that wait for a peer who does not read (``too_slow``), behind those it is
    being sent: one message may be larger, ``write_timeout_s`` is for that."""
    high_water_bytes: int = 2**16
    """A greenlet's ``send`` waits while more than this is waiting for the peer."""
    write_timeout_s: float = 30.0
    """Longest time without any progress while bytes wait (``too_slow``)."""
    close_timeout_s: float = 5.0
    """How long we wait for the peer's half of the closing handshake."""
    max_head_bytes: int = 2**15
    """Largest head of an HTTP request: request line and headers (answered 431)."""
    max_headers: int = 100
    """Most header lines in it (answered 431)."""
    head_timeout_s: float = 10.0
    """How long a peer may take to send it, TLS included (answered 408)."""
    body_timeout_s: float = 10.0
    """How long we read on in a body that the program has no use for (then closed)."""
    max_handshakes: int | None = None
    """Connections of a :class:`WebSocketServer` that are no WebSockets yet; of these
    one address has no more than it leaves to others (answered 503). None: what file
    descriptors allow."""
    max_sockets: int | None = None
    """Most sockets open at once (answered 503). None: what file descriptors allow."""
    max_sockets_per_address: int | None = None
    """Most of them from one IPv4 address or IPv6 /64 network (answered 429)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if field.name.endswith("_s"):
                check_seconds(field.name, value)
            elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
                or_none = ", or None" if field.default is None else ""
                raise LocalError(
                    f"{field.name} = {value!r} cannot be used: give an int of at "
                    f"least 1{or_none}"
                )


def check_seconds(name: str, value: object) -> None:
    """Whether ``value`` can be waited for.

    Raises:
        LocalError: it is no number over 0.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < cast(float, value) < inf:
        raise LocalError(f"{name} = {value!r} cannot be used: give seconds, over 0")
