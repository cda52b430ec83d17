"""The words of ``actioncable-v1-json`` and its extension, byte for byte.

All frames are text holding one JSON object. An identifier is an opaque string to be
echoed exactly as the client wrote it: clients look subscriptions up by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from gateway.cable.history import Position
from gateway.cable.publication import Publication
from gateway.errors import CommandError
from gateway.reasons import CloseReason

__all__ = [
    "Command",
    "EXTENDED",
    "HistoryRequest",
    "PONG",
    "PROTOCOLS",
    "PresenceJoin",
    "StreamPosition",
    "UNSUPPORTED",
    "V1",
    "WELCOME",
    "confirmation",
    "data_ending",
    "data_prefix",
    "decode",
    "disconnect",
    "encode",
    "history_confirmation",
    "history_rejection",
    "ping",
    "positions",
    "presence",
    "read_as",
    "read_command",
    "read_identifier",
    "read_object",
    "rejection",
    "welcome",
]

V1: Final = "actioncable-v1-json"
EXTENDED: Final = "actioncable-v1-ext-json"
"""AnyCable's: messages know their place in the stream; presence, whispers."""
UNSUPPORTED: Final = "actioncable-unsupported"
"""Offered by Rails' own client only, so that a server can say "none of yours"."""

PROTOCOLS: Final = (V1, EXTENDED, UNSUPPORTED)
"""What we answer when a client offers it."""

WELCOME: Final = b'{"type":"welcome"}'

Kind = TypeVar("Kind")

encode = _encode = msgspec.json.Encoder().encode
decode = _decode = msgspec.json.Decoder().decode


class Command(msgspec.Struct, frozen=True):
    """What a client sends. ``data`` is, for ``message``, a string holding JSON."""

    command: str
    identifier: str = ""
    data: Any = None
    history: Any = None
    presence: Any = None


_decode_command = msgspec.json.Decoder(Command).decode


def read_command(text: str) -> Command:
    """Parse a client's frame.

    Raises:
        CommandError: it is not a JSON object with the fields and types of a command.
    """
    try:
        return _decode_command(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise CommandError(f"not a command: {exc}") from None


def read_identifier(identifier: str) -> dict[str, Any]:
    """The parameters in an identifier; ``channel`` is one of them, a string.

    Raises:
        CommandError: it is not a JSON object that names a channel.
    """
    params = read_object(identifier, "the identifier")
    if not isinstance(params.get("channel"), str):
        raise CommandError("the identifier names no channel")
    return params


def read_object(text: Any, what: str) -> dict[str, Any]:
    """Parse a JSON object out of a string; ``what`` it is for the error's sentence."""
    if not isinstance(text, str):
        raise CommandError(f"{what} is not a string holding JSON")
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise CommandError(f"{what} is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise CommandError(f"{what} is not a JSON object")
    return value


def ping(unix_seconds: int) -> bytes:
    """The heartbeat: clients call the link stale after two missed ones."""
    return b'{"type":"ping","message":%d}' % unix_seconds


def confirmation(identifier: str) -> bytes:
    """The subscription is live."""
    return b'{"identifier":%s,"type":"confirm_subscription"}' % _encode(identifier)


def rejection(identifier: str) -> bytes:
    """There will be no subscription."""
    return b'{"identifier":%s,"type":"reject_subscription"}' % _encode(identifier)


def data_ending(stream: str, publication: Publication) -> bytes:
    """What follows the message for clients of the extended protocol: its place."""
    if not publication.offset:
        return b"}"
    return b',"stream_id":%b,"epoch":%b,"offset":%d}' % (
        _encode(stream),
        _encode(publication.epoch),
        publication.offset,
    )


def data_prefix(identifier: str) -> bytes:
    """What precedes the JSON of a message to this subscription; ``}`` follows it."""
    return b'{"identifier":%s,"message":' % _encode(identifier)


def welcome(sid: str, restored: list[str] | None = None) -> bytes:
    """The client may stay; ``sid`` is what it may come back with.

    ``restored`` are the identifiers of subscriptions that it need not ask for again.
    """
    frame: dict[str, Any] = {"type": "welcome", "sid": sid}
    if restored is not None:
        frame |= {"restored": True, "restored_ids": restored}
    return _encode(frame)


def positions(identifier: str, streams: Mapping[str, Position]) -> bytes:
    """A confirmation that says where its streams stand, so that no gap can follow."""
    places = {
        name: {"epoch": epoch, "offset": offset}
        for name, (epoch, offset) in streams.items()
    }
    return _encode(
        {
            "identifier": identifier,
            "type": "confirm_subscription",
            "streams": places,
        }
    )


def history_confirmation(identifier: str) -> bytes:
    """All that was missed has been sent."""
    return b'{"identifier":%b,"type":"confirm_history"}' % _encode(identifier)


def history_rejection(identifier: str) -> bytes:
    """What was missed cannot be told."""
    return b'{"identifier":%b,"type":"reject_history"}' % _encode(identifier)


def presence(identifier: str, event: bytes) -> bytes:
    """Who came, who went, or who is there; ``event`` is JSON."""
    return b'{"type":"presence","identifier":%b,"message":%b}' % (
        _encode(identifier),
        event,
    )


PONG: Final = b'{"type":"pong"}'


class StreamPosition(msgspec.Struct, frozen=True):
    """Where a client is in a stream."""

    epoch: str
    offset: Annotated[int, Meta(ge=0)]


class HistoryRequest(msgspec.Struct, frozen=True):
    """What a client asks for that was away."""

    since: Annotated[float, Meta(ge=0)] | None = None
    """Unix seconds, for streams it has no position in."""
    streams: dict[str, StreamPosition] = {}


class PresenceJoin(msgspec.Struct, frozen=True):
    """Who a client says it is."""

    id: Annotated[str, Meta(min_length=1, max_length=512)]
    info: Any = None


def read_as(value: Any, kind: type[Kind], what: str) -> Kind:
    """A part of a command, checked; ``what`` it is for the error's sentence."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise CommandError(f"{what} cannot be read: {exc}") from None


def disconnect(reason: CloseReason) -> bytes:
    """The server will close. Rails' client takes a missing ``reconnect`` for false."""
    return _encode(
        {"type": "disconnect", "reason": reason.name, "reconnect": reason.reconnect}
    )
