"""How a subscription listens to one stream.

    held back ── let go on ──→ live ── pause_streams() ──→ paused
        ↑──── waits for the past ──┘ ↑─── resume_streams() ───┘

Who is held back is told what came meanwhile before it goes on; what comes during a
pause is not heard. There are three kinds: a plain listening gives every message to the
client, a conflating one the newest, a calling one tells the channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.cable import messages
from gateway.cable.feeds import Envelope, Terms
from gateway.cable.history import HistoryLost, Position
from gateway.cable.publication import Publication
from gateway.cable.stream import Stream

if TYPE_CHECKING:
    from gateway.cable.connection import Wire

__all__ = ["Calling", "Conflating", "Listening", "Plain"]

_MOST_HELD = 100
"""So many messages wait for a reader of a stream without a history."""


class Held:
    """A place in a stream, where somebody is held back.

    A stream without a history is listened to meanwhile.
    """

    __slots__ = ("_buffer", "_stream", "position")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.position = stream.position
        self._buffer: deque[Publication] | None = None
        if self.position is None:
            self._buffer = deque(maxlen=_MOST_HELD)
            stream.callbacks.append(self._hear)

    def missed(self) -> list[Publication]:
        """What came since.

        Raises:
            HistoryLost: it cannot be given whole.
        """
        if self._buffer is not None:
            return list(self._buffer)
        assert self.position is not None
        return self._stream.missed(self.position)

    def end(self) -> None:
        """It does not matter any longer."""
        if self._buffer is not None:
            self._stream.callbacks.remove(self._hear)

    def _hear(self, publication: Publication) -> None:
        assert self._buffer is not None
        self._buffer.append(publication)


class Listening(ABC):
    """What the kinds have in common. ``wire`` is that of the client.

    With ``latest`` the client is told the value of now when it begins, and behind each
    pause.
    """

    __slots__ = ("_held", "_latest", "_owed", "_wire", "envelope", "is_live", "stream")

    def __init__(
        self, stream: Stream, wire: Wire, envelope: Envelope, *, latest: bool
    ) -> None:
        self.stream = stream
        self.envelope = envelope
        self.is_live = False
        self._wire = wire
        self._latest = latest
        self._owed = latest  # whether the client is to be told the value of now
        self._held: Held | None = None

    def agrees(self, envelope: Envelope, terms: Terms, *, latest: bool) -> bool:
        """Whether it listens in this way already."""
        return False

    @property
    def is_owing(self) -> bool:
        """Whether something has come that the client has not been told."""
        try:
            return self._owed or bool(self._held and self._held.missed())
        except HistoryLost:
            return True

    def succeed(self, before: Listening) -> None:
        """Take the place of one that listened in another way, and end that."""
        self._owed |= before.is_owing
        self._held, before._held = before._held, None
        before.end()

    def hold(self) -> None:
        """Hold back what comes from now on."""
        self._leave()
        if self._held is None:
            self._held = Held(self.stream)

    def pause(self) -> None:
        """Let go by what comes from now on."""
        self._leave()
        self._let_go()
        self._owed |= self._latest

    def go_on(self) -> list[bytes]:
        """Be live; returns the frames to send first.

        Raises:
            HistoryLost: what was held back cannot be given whole. It is held back still
                and may go on behind :meth:`skip_lost`.
        """
        if self.is_live:
            return []
        frames = self._tell([] if self._held is None else self._held.missed())
        self._let_go()
        self._owed = False
        self._join(told=bool(frames))
        self.is_live = True
        return frames

    def skip_lost(self) -> None:
        """Be content with what is kept of what was held back."""
        assert self._held is not None
        self._held.position = self.stream.start

    def end(self) -> None:
        """Listen no longer."""
        self._leave()
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.end()
            self._held = None

    def _leave(self) -> None:
        if self.is_live:
            self.is_live = False
            self._part()

    # What each kind does in its own way.

    @abstractmethod
    def _tell(self, missed: list[Publication]) -> list[bytes]:
        """Tell what came meanwhile; returns the frames to send."""

    @abstractmethod
    def _join(self, *, told: bool) -> None:
        """From now on, in order, it gets what comes; it was just ``told`` something."""

    @abstractmethod
    def _part(self) -> None:
        """From now on it does not."""


class Plain(Listening):
    """The client gets every message."""

    __slots__ = ()

    def agrees(self, envelope: Envelope, terms: Terms, *, latest: bool) -> bool:
        mine = self.envelope, self._latest
        return terms.is_plain and mine == (envelope, latest)

    @property
    def position(self) -> Position | None:
        """How far the client has been told, if the stream has a history."""
        return self.stream.position if self._held is None else self._held.position

    def past(self, after: Position | None, since: float | None) -> list[Publication]:
        """What came behind a position or, without one, since a time (Unix seconds).

        What is held back is part of it. Empty if neither is given.

        Raises:
            HistoryLost: it cannot be given whole.
        """
        if after is not None:
            return self.stream.missed(after)
        if since is None:
            return []
        held = [] if self._held is None else self._held.missed()
        return max(self.stream.since(since), held, key=len)

    def told(self) -> None:
        """The client has been told all up to now."""
        self._owed = False
        if self._held is not None:
            self._let_go()
            self.hold()

    def frames(self, publications: list[Publication]) -> list[bytes]:
        """Messages for the client, less those that it is to be spared."""
        name, envelope, me = self.stream.name, self.envelope, self._wire.id
        return [
            envelope.wrap(each.message, messages.data_ending(name, each))
            for each in publications
            if each.exclude != me
        ]

    def _tell(self, missed: list[Publication]) -> list[bytes]:
        if missed:
            return self.frames(missed)
        newest = self.stream.newest if self._owed else None
        return [] if newest is None else [self.envelope.wrap(newest, b"}")]

    def _join(self, *, told: bool) -> None:
        self.stream.plain.join(self.envelope, self._wire.member)

    def _part(self) -> None:
        self.stream.plain.leave(self.envelope, self._wire.member)


class Conflating(Listening):
    """The client gets the newest, at most so many times a second.

    If something came while it was not live, it is told the value of now for all that.
    """

    __slots__ = ("_feed", "_knows", "_terms")

    def __init__(
        self,
        stream: Stream,
        wire: Wire,
        envelope: Envelope,
        terms: Terms,
        *,
        latest: bool,
    ) -> None:
        super().__init__(stream, wire, envelope, latest=latest)
        self._terms = terms
        self._feed = stream.conflate(terms)
        self._knows = self._feed.updates  # so many of them

    def agrees(self, envelope: Envelope, terms: Terms, *, latest: bool) -> bool:
        mine = self.envelope, self._terms, self._latest
        return mine == (envelope, terms, latest)

    @property
    def is_owing(self) -> bool:
        if self.is_live:
            self._knows = self._feed.knows(self.envelope, self._wire.member)
        return self._owed or self._knows < self._feed.updates

    def hold(self) -> None:
        self._leave()

    def end(self) -> None:
        super().end()
        self.stream.drop(self._terms)

    def _tell(self, missed: list[Publication]) -> list[bytes]:
        newest = self._feed.newest(self.envelope) if self.is_owing else None
        return [] if newest is None else [newest]

    def _join(self, *, told: bool) -> None:
        join = self._feed.join_told if told else self._feed.join
        join(self.envelope, self._wire.member)

    def _part(self) -> None:
        self._knows = self._feed.knows(self.envelope, self._wire.member)
        self._feed.leave(self.envelope, self._wire.member)


class Calling(Listening):
    """The channel is told, instead of the client."""

    __slots__ = ("_callback",)

    def __init__(
        self, stream: Stream, wire: Wire, callback: Callable[[bytes], None]
    ) -> None:
        super().__init__(stream, wire, Envelope(""), latest=False)
        self._callback = callback

    def _tell(self, missed: list[Publication]) -> list[bytes]:
        for publication in missed:
            self._hear(publication)
        return []

    def _hear(self, publication: Publication) -> None:
        self._callback(publication.message)

    def _join(self, *, told: bool) -> None:
        self.stream.callbacks.append(self._hear)

    def _part(self) -> None:
        self.stream.callbacks.remove(self._hear)
