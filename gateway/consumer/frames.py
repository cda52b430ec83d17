"""What a server says to a consumer, checked (docs/protocol.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import PeerError

__all__ = ["BadFrame", "Frame", "Place", "read"]


class BadFrame(PeerError):
    """A frame that no cable sends: not text, not JSON, or not of its fields' types."""


class Place(msgspec.Struct, frozen=True):
    """Where a stream stands."""

    epoch: str
    offset: int


class Frame(msgspec.Struct, frozen=True):
    """Any frame; each kind of them has a few of the fields.

    >>> read('{"type":"ping","message":1795400353}').type
    'ping'
    """

    type: str | None = None
    """None for a message to a subscription."""
    identifier: str = ""
    message: Any = None
    stream_id: str = ""
    epoch: str = ""
    offset: int | None = None
    """None for a message that is not kept."""
    updates: int = 0
    streams: dict[str, Place] = {}
    reason: str | None = None
    reconnect: Any = None


_decode = msgspec.json.Decoder(Frame).decode


def read(message: str | bytes) -> Frame:
    """Parse what came.

    Raises:
        BadFrame: it is no frame of a cable; says why.
    """
    if isinstance(message, bytes):
        raise BadFrame("a binary message: this protocol is text")
    try:
        return _decode(message)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
        raise BadFrame(f"not a frame of a cable: {exc}") from None
