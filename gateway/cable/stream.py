"""One stream in this process: who reads it, and how far it has come here.

Nothing in here waits. The hub decides what is given to a stream, and when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.cable.conflation import NOTHING, ConflatingFeed, Merged
from gateway.cable.feeds import Audience, Clock, Feed, Terms
from gateway.cable.history import HistoryLost, Position, Recall, Ring
from gateway.cable.publication import Publication
from gateway.errors import PubSubError

__all__ = ["Callback", "FirstReading", "Gate", "Stream", "Surroundings"]

Callback = Callable[[Publication], None]
"""Told each message of a stream. It must not wait."""


class Surroundings(NamedTuple):
    """What all streams of a process share: see :class:`Hub`."""

    new_audience: Callable[[], Audience]
    clock: Clock
    name_here: Callable[[str], str]
    count_conflated: Callable[[int], None]


class Gate(Protocol):
    """What is shut until it is set. The standard library's and gevent's events are."""

    def set(self) -> None: ...

    def wait(self) -> object: ...


@dataclass(slots=True)
class FirstReading:
    """That the past of a new stream is being read, and what came of it."""

    is_over: Gate
    error: PubSubError | None = None


class Stream:
    """A stream that somebody here listens to.

    Plain readers join ``plain``; those who want its values conflated share a feed for
    each of their terms, which is there as long as one of them, even if that one pauses.
    """

    __slots__ = (
        "_surroundings",
        "awaited",
        "callbacks",
        "conflating",
        "first_reading",
        "last",
        "merged",
        "name",
        "plain",
        "read_at",
        "ring",
        "users",
    )

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.name = name
        self._surroundings = surroundings
        self.users = 0
        # Who listens.
        self.plain = Feed(name, surroundings.new_audience)
        self.conflating: dict[Terms, ConflatingFeed] = {}
        self.callbacks: list[Callback] = []
        # What was said.
        self.last: bytes | None = None  # the last message that came
        self.merged: Merged | None = None  # all of them, once somebody wants that
        self.ring: Ring | None = None
        # While the past is being read: what came meanwhile.
        self.awaited: list[Publication] | None = None
        self.first_reading: FirstReading | None = None  # while that is under way
        self.read_at = float("-inf")  # when it was asked for last

    # Readers.

    def conflate(self, terms: Terms) -> ConflatingFeed:
        """The feed for these terms, for one more who needs it until :meth:`drop`."""
        feed = self.conflating.get(terms)
        if feed is None:
            new_audience, clock, _, count = self._surroundings
            feed = ConflatingFeed(
                *(self.name, new_audience, terms, clock, count),
                latest=self.newest,
                merged=self._merge() if terms.conflate == "merge" else None,
                # Who changes its terms shall not see the number go back.
                updates=max((f.updates for f in self.conflating.values()), default=0),
            )
            self.conflating[terms] = feed
        feed.users += 1
        return feed

    def drop(self, terms: Terms) -> None:
        """One less needs the feed for these terms."""
        feed = self.conflating[terms]
        feed.users -= 1
        if not feed.users:
            feed.close()
            del self.conflating[terms]

    def tell(self, frame: Callable[[str], bytes], *, presence: bool = False) -> int:
        """Tell all readers something beside the messages: see :meth:`Feed.tell`."""
        told = self.plain.tell(frame, presence=presence)
        for feed in tuple(self.conflating.values()):
            told += feed.tell(frame, presence=presence)
        return told

    # What comes.

    def follow(self, publication: Publication) -> bool:
        """Hand it on if it is the next; False if something before it is missing."""
        ring = self.ring
        if ring is not None and publication.offset:
            epoch, offset = ring.position
            if publication.epoch != epoch or publication.offset != offset + 1:
                return ring.has(publication)
            ring.append(publication)
        self.hand_on(publication)
        return True

    def hand_on(self, publication: Publication) -> None:
        """Give a message to all who listen."""
        given = publication
        if publication.exclude:
            name = self._surroundings.name_here(publication.exclude)
            given = publication._replace(exclude=name)
        self.plain.deliver(given)
        if not publication.transient:
            self.last = publication.message
        if self.merged is not None or self.conflating:
            self._conflate(given)
        if self.callbacks:
            for callback in tuple(self.callbacks):
                callback(publication)

    def _conflate(self, publication: Publication) -> None:
        if publication.transient:  # a whisper is not the value of anything
            for feed in tuple(self.conflating.values()):
                feed.deliver(publication)
            return
        message = publication.message
        change = NOTHING if self.merged is None else self.merged.add(message)
        for feed in tuple(self.conflating.values()):
            feed.update(message, change)

    # How far it has come.

    @property
    def position(self) -> Position | None:
        """How far it has come here; None if it has no history."""
        return None if self.ring is None else self.ring.position

    @property
    def newest(self) -> bytes | None:
        """The last message, as far as it is known."""
        if self.last is None and self.ring is not None and self.ring.last is not None:
            return self.ring.last.message
        return self.last

    @property
    def start(self) -> Position | None:
        """The place before the oldest message that is kept."""
        here = self.position
        if here is None:
            return None
        return here._replace(offset=here.offset - len(self.since(0.0)))

    def is_behind(self, position: Position) -> bool:
        """Whether somebody who was there has been where we have not been."""
        here = self.position
        return here is not None and (
            here.epoch != position.epoch or here.offset < position.offset
        )

    def missed(self, position: Position) -> list[Publication]:
        """What came behind a position.

        Raises:
            HistoryLost: it cannot be given whole.
        """
        if self.ring is None:
            raise HistoryLost(f"{self.name} has no history")
        return self.ring.after(position, self._surroundings.clock.unix())

    def since(self, time: float) -> list[Publication]:
        """What is kept of what came since a time (Unix seconds)."""
        if self.ring is None:
            return []
        return self.ring.since(time, self._surroundings.clock.unix())

    def contradicts(self, recall: Recall, others: list[Publication]) -> bool:
        """Whether what was heard here, ``others`` included, is not what a store tells.

        Offsets that we have seen are not there, or are those of other messages.
        """
        epoch, end = recall.position
        kept = {each.offset: each for each in recall.kept}
        heard = [*(self.ring or ()), *others]
        here = self.position
        return (here is not None and here.epoch == epoch and here.offset > end) or any(
            each.offset > end or kept.get(each.offset, each) != each
            for each in heard
            if each.offset and each.epoch == epoch
        )

    def _merge(self) -> Merged:
        if self.merged is None:
            past = [each.message for each in self.since(0.0)]
            if not past and self.last is not None:
                past.append(self.last)
            self.merged = Merged(past)
        return self.merged
