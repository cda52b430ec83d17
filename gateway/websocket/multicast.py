"""Many readers that get the same messages: framed once, joined once, dealt out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from gateway.websocket.frames import Encoding, Message
from gateway.websocket.round import Round
from gateway.websocket.turn import Turn

__all__ = ["Multicast", "Reader"]


class Reader(Protocol):
    """Who can be a member: an :class:`Outbox`, or something like it."""

    @property
    def encoding(self) -> Encoding:
        """How its frames look."""

    @property
    def owner_id(self) -> int:
        """What it is called when it is to be left out."""

    @property
    def stalled(self) -> bool:
        """Whether it lags behind what it is sent."""

    def take(self, frames: bytes, key: Hashable = None) -> None:
        """Frames for it; with a ``key``, they replace those of before, if unread."""

    def write(self, frames: bytes) -> None:
        """The same, now, if nothing of before waits."""


class Multicast:
    """Readers that hear the same messages, in the order they joined.

    >>> from gateway.websocket import Message
    >>> room = Multicast()
    >>> room.send(Message("nobody listens, nothing is encoded"))
    >>> len(room)
    0
    """

    __slots__ = ("_readers", "_turn")

    def __init__(self) -> None:
        self._turn = Turn.current()
        self._readers: dict[Encoding, dict[Reader, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    def add(self, outbox: Reader) -> None:
        """From now on ``outbox`` gets what is sent here."""
        self._turn.settle()
        self._readers.setdefault(outbox.encoding, {})[outbox] = None

    def discard(self, outbox: Reader) -> None:
        """From now on it does not; what was sent before still reaches it."""
        self._turn.settle()
        readers = self._readers.get(outbox.encoding)
        if readers is not None:
            readers.pop(outbox, None)
            if not readers:
                del self._readers[outbox.encoding]

    def send(self, message: Message) -> None:
        """Send to all members, each of which writes once at the end of the turn."""
        self._turn.note(self, message)

    def send_text(
        self, payload: bytes, *, exclude: str = "", newest: bytes | None = None
    ) -> None:
        """Send a text message given as UTF-8, to all but the socket called ``exclude``.

        With ``newest``, what a slow reader has not read of such messages is replaced by
        that: it gets the value of now instead of all that led there.
        """
        message = Message.text(payload)
        if not exclude and newest is None:
            self._turn.note(self, message)
            return
        self._turn.settle()
        instead = None if newest is None else Message.text(newest)
        for encoding, readers in self._readers.items():
            frame = message.encode(encoding)
            for outbox in readers:
                if exclude and str(outbox.owner_id) == exclude:
                    continue
                if instead is not None and outbox.stalled:
                    outbox.take(instead.encode(encoding), key=self)
                else:
                    outbox.take(frame)
                self._turn.messages_out += 1

    def new_round(self) -> Round:
        """What writes to all members, as long as they are these. Called by the turn."""
        return Round(self._readers)

    def deal(self, messages: list[Message]) -> None:
        """Hand ``messages`` to each member's outbox. Called by the turn."""
        for encoding, readers in self._readers.items():
            frames = [message.encode(encoding) for message in messages]
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            for outbox in readers:
                outbox.take(data)
            self._turn.messages_out += len(messages) * len(readers)
