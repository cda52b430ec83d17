"""The cable's frames as the events of one client (HTML Standard, §9.2)."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.cable.history import Position
from gateway.cable.messages import StreamPosition
from gateway.events.asking import Asked
from gateway.events.places import Places, written
from gateway.websocket.frames import SEPARATOR

__all__ = ["Writer"]

logger = logging.getLogger("gateway.cable")

_NEVER_MS = 31_536_000_000  # a year: EventSource knows no other way to say "stay away"

_LINE_END = re.compile("\r\n|\r|\n")  # str.splitlines() knows more than the standard

_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class Writer:
    """Writes frames as events, and knows how far the client has come by them."""

    def __init__(self, asked: Asked) -> None:
        behind = [it.identifier for it in asked.commands if it.history is not None]
        self._places = Places(asked.reached, behind)
        self._raw = asked.raw
        self._whole = asked.whole
        self._told = ""
        self.over = False
        """Whether nothing can follow: a subscription was rejected after all."""

    def write(self, texts: bytes) -> bytes:
        """The events of some frames, which come as JSON texts (RFC 7464)."""
        return b"".join(map(self._event, _frames(texts, self._whole)))

    def _event(self, frame: Frame) -> bytes:
        self._places.advance(frame.kind, frame.identifier, frame.places)
        self.over |= frame.kind == "reject_subscription"
        head = ""
        if frame.kind is not None and not self._raw:
            head = f"event: {frame.kind}\n"
        # A browser that comes back has no id until it is told one anew.
        place = str(self._places)
        if place != self._told:
            self._told = place
            head += f"id: {place}\n"
        if frame.is_final:
            head += f"retry: {_NEVER_MS}\n"
        data = b"" if self._raw and frame.kind is not None else frame.data
        return b"%b%b\n" % (head.encode(), data) if head or data else b""


class Frame(NamedTuple):
    """What the events of all clients who get a frame have in common."""

    kind: str | None
    """None: a message."""
    identifier: str
    places: dict[str, str]
    """The places in streams that it names."""
    is_final: bool
    """Whether the client shall not come back."""
    data: bytes


class Words(msgspec.Struct):
    """What there is to know in a frame."""

    type: str | None = None
    identifier: str = ""
    message: msgspec.Raw = msgspec.Raw(b"null")
    streams: dict[str, StreamPosition] = {}
    stream_id: str = ""
    epoch: str = ""
    offset: int = 0
    reconnect: bool = True


_decode = msgspec.json.Decoder(Words).decode


@lru_cache(maxsize=4)  # of a broadcast, for which all readers ask
def _frames(texts: bytes, whole: bool) -> list[Frame]:
    frames: list[Frame] = []
    for text in texts.split(SEPARATOR)[1:]:
        try:
            frames.append(_frame(text.rstrip(b"\n"), whole))
        except _UNREADABLE:  # some program has published it past us
            logger.warning("left out of event streams, no JSON: %.200r", text)
    return frames


def _frame(text: bytes, whole: bool) -> Frame:
    words = _decode(text)
    shown = text if whole or words.type is not None else bytes(words.message)
    if shown.startswith(b'"'):
        lines = msgspec.json.decode(shown, type=str)
    else:
        lines = shown.decode()
    places = {
        stream: written(stream, Position(place.epoch, place.offset))
        for stream, place in words.streams.items()
    }
    if words.offset:
        position = Position(words.epoch, words.offset)
        places = {words.stream_id: written(words.stream_id, position)}
    is_final = words.type == "reject_subscription" or not words.reconnect
    data = "".join(f"data: {line}\n" for line in _LINE_END.split(lines))
    return Frame(words.type, words.identifier, places, is_final, data.encode())
