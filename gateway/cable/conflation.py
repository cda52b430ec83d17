"""Streams for readers who care for the newest value only.

Lightstreamer and Diffusion call it conflation. A conflating feed emits at most
``max_rate`` times in any second, whatever comes in, and the last value always. A reader
who lags finds what it has not read yet replaced by the newest. The work is done once
for the feed, not for each of its readers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import floor
from typing import Any

import msgspec

from gateway.cable import messages
from gateway.cable.feeds import Audience, Clock, Envelope, Feed, Member, Terms, Timer
from gateway.cable.publication import Publication

__all__ = ["NOTHING", "ConflatingFeed", "Merged"]

logger = logging.getLogger("gateway.cable")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

NOTHING = object()
"""No value at all, which null is not."""


class Merged:
    """Messages joined key by key, as ``Object.assign`` does.

    >>> merged = Merged([b'{"a":1}', b'{"b":2}'])
    >>> merged.add(b'{"a":3}')
    {'a': 3}
    >>> merged.json
    b'{"a":3,"b":2}'
    """

    __slots__ = ("_json", "_state")

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._state: Any = NOTHING
        self._json: bytes | None = None
        for message in messages:
            self.add(message)

    @property
    def json(self) -> bytes | None:
        """All of them together; None if there was none."""
        if self._json is None and self._state is not NOTHING:
            self._json = _encode(self._state)
        return self._json

    def add(self, message: bytes) -> Any:
        """Join one more; returns its value, or ``NOTHING`` if it is not JSON."""
        try:
            value = _decode(message)
        except (msgspec.DecodeError, RecursionError) as exc:
            logger.warning("a message that is not JSON cannot be merged: %s", exc)
            return NOTHING
        self._state = _joined(self._state, value)
        self._json = None
        return value


class ConflatingFeed(Feed):
    """Passes the newest on, at most so many times a second.

    Each frame says in ``updates`` how many messages had come by then; the difference
    between two frames is how many were conflated into the later one. ``count`` is told
    how many messages were not passed on, times the readers. Programs see messages only,
    so that objects may carry the number, too, under ``terms.counted_as``.

    Who was just told the value of now has had its frame of this period. Such a newcomer
    is passed by until a period has gone; then it is told what has come since.
    """

    __slots__ = (
        "_change",
        "_clock",
        "_count",
        "_counted_as",
        "_due",
        "_emitted",
        "_latest",
        "_merged",
        "_newcomers",
        "_period",
        "_timer",
        "updates",
        "users",
    )

    def __init__(
        self,
        stream: str,
        new_audience: Callable[[], Audience],
        terms: Terms,
        clock: Clock,
        count: Callable[[int], None],
        latest: bytes | None = None,
        merged: Merged | None = None,
        updates: int = 0,
    ) -> None:
        super().__init__(stream, new_audience)
        self.users = 0
        """Who wants the feed to be there: its readers, and those that pause."""
        self.updates = updates
        """How many messages have come."""
        self._period = _period(terms.max_rate)
        self._clock = clock
        self._count = count
        key = terms.counted_as
        self._counted_as = None if key is None else _encode(key)
        self._latest = latest  # the newest message; unless all count:
        self._merged = merged
        self._change: Any = NOTHING  # merged since the last emission
        self._emitted = updates  # how many of them readers know
        self._due = clock.now()  # when the next emission may be
        self._timer: Timer | None = None
        # When each may be told more, and how many updates it knows.
        self._newcomers: dict[tuple[Envelope, Member], tuple[float, int]] = {}

    @property
    def value(self) -> bytes | None:
        """The value of now, as JSON, as far as it is known."""
        return self._latest if self._merged is None else self._merged.json

    def newest(self, envelope: Envelope) -> bytes | None:
        """A frame with the value of now, for somebody who joins as told."""
        value = self.value
        if value is None:
            return None
        prefix = messages.data_prefix(envelope.identifier)
        return b"%b%b%b" % (prefix, self._counted(value), self._ending())

    def join_told(self, envelope: Envelope, member: Member) -> None:
        """Join, having been told the :meth:`newest` in this very moment."""
        until = self._clock.now() + self._period
        self._newcomers[envelope, member] = until, self.updates

    def knows(self, envelope: Envelope, member: Member) -> int:
        """How many of the updates a reader knows."""
        return self._newcomers.get((envelope, member), (0.0, self._emitted))[1]

    def leave(self, envelope: Envelope, member: Member) -> None:
        if self._newcomers.pop((envelope, member), None) is None:
            super().leave(envelope, member)

    def deliver(self, publication: Publication) -> None:
        """Pass on what is no value of the stream, a whisper say, as it is."""
        super().deliver(publication)
        self._newcomers_feed().deliver(publication)

    def tell(self, frame: Callable[[str], bytes], *, presence: bool = False) -> int:
        told = super().tell(frame, presence=presence)
        return told + self._newcomers_feed().tell(frame, presence=presence)

    def update(self, message: bytes, change: Any) -> None:
        """A message has come, to be emitted as soon as it may; ``change`` is its value,
        if the feed merges.
        """
        if self._merged is None:
            self._latest = message
        elif change is NOTHING:
            return
        else:
            self._change = _joined(self._change, change)
        self.updates += 1
        if self._timer is None:
            self._tick()

    def close(self) -> None:
        """Nobody reads it any longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        now = self._clock.now()
        if now < self._due:  # also if a timer is early by the clock's grain
            self._timer = self._clock.call_later(self._due - now, self._tick)
            return
        self._timer = None
        self._due = now + self._period
        if self.updates > self._emitted:
            self._emit()
        self._admit(now)

    def _emit(self) -> None:
        ending, value = self._ending(), self.value
        assert value is not None
        newest = change = self._counted(value)
        if self._merged is not None:
            change = self._counted(_encode(self._change))
            self._change = NOTHING
        readers = 0
        for group in tuple(self.groups.values()):
            readers += len(group.audience)
            group.audience.send_text(
                b"%b%b%b" % (group.prefix, change, ending),
                newest=b"%b%b%b" % (group.prefix, newest, ending),
            )
        self._count((self.updates - self._emitted - 1) * readers)
        self._emitted = self.updates

    def _admit(self, now: float) -> None:
        """Make readers of the newcomers who know what all know, or may be told it."""
        behind = Feed(self.stream, self._new_audience)
        for (envelope, member), (until, known) in tuple(self._newcomers.items()):
            if known < self.updates:
                if now < until:
                    continue
                behind.join(envelope, member)
                self._count(self.updates - known - 1)
            del self._newcomers[envelope, member]
            self.join(envelope, member)
        for envelope, group in behind.groups.items():
            frame = self.newest(envelope)
            assert frame is not None
            group.audience.send_text(frame, newest=frame)
        if self._newcomers:
            self._timer = self._clock.call_later(self._period, self._tick)

    def _newcomers_feed(self) -> Feed:
        feed = Feed(self.stream, self._new_audience)
        for envelope, member in self._newcomers:
            feed.join(envelope, member)
        return feed

    def _counted(self, value: bytes) -> bytes:
        if self._counted_as is None or not value.startswith(b"{"):
            return value
        rest = value[1:].lstrip()
        comma = b"" if rest.startswith(b"}") else b","
        return b"{%b:%d%b%b" % (self._counted_as, self.updates, comma, rest)

    def _ending(self) -> bytes:
        return b',"updates":%d}' % self.updates


def _period(max_rate: float | None) -> float:
    """The least time between two emissions.

    In any second there may be 2 at a rate of 2.5, so a fraction does not count.
    """
    if max_rate is None:
        return 0.0
    return 1.0 / floor(max_rate) if max_rate >= 1 else 1.0 / max_rate


def _joined(old: Any, new: Any) -> Any:
    """Objects are joined, all else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **new}
    return new
