"""A stream's recent past: who was away gets exactly what it missed, or is told no.

Every message of a stream with a history has an offset, one more than the one before.
The offsets count within an epoch, which is the life of the store that keeps them; they
mean nothing in another. A ``Ring`` holds the last of them, in a process or in the store
itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import dropwhile
from typing import NamedTuple

from gateway.cable.publication import Publication

__all__ = ["HistoryLost", "Position", "Recall", "Retention", "Retentions", "Ring"]


class HistoryLost(Exception):
    """What was missed cannot be given whole, so none of it is."""


class Position(NamedTuple):
    """How far a reader has come in a stream."""

    epoch: str
    offset: int


class Retention(NamedTuple):
    """How much of a stream is kept.

    >>> Retention(messages=0).is_kept
    False
    """

    messages: int = 100
    seconds: float = 300.0

    @property
    def is_kept(self) -> bool:
        return self.messages > 0


class Retentions:
    """The retention of each stream: by the first pattern that fits its name.

    >>> retentions = Retentions(Retention(), {"dashboard*": Retention(0)})
    >>> retentions.of("dashboard_1").messages, retentions.of("chat_1").messages
    (0, 100)
    """

    def __init__(
        self, default: Retention, patterns: Mapping[str, Retention] | None = None
    ) -> None:
        self._default = default
        self._patterns = dict(patterns or {})
        are_names = not any(set(pattern) & set("*?[") for pattern in self._patterns)
        self.of = self._named if are_names else lru_cache(maxsize=4096)(self._fitting)

    def _named(self, stream: str) -> Retention:
        return self._patterns.get(stream, self._default)

    def _fitting(self, stream: str) -> Retention:
        for pattern, retention in self._patterns.items():
            if fnmatchcase(stream, pattern):
                return retention
        return self._default


class Recall(NamedTuple):
    """What a store tells of a stream: how far it has come, and what it has kept."""

    position: Position
    kept: list[Publication]


class Ring:
    """The last messages of one stream.

    >>> ring = Ring(Position("e", 0), Retention(messages=2))
    >>> for offset in (1, 2, 3):
    ...     ring.append(Publication(b"%d" % offset, epoch="e", offset=offset))
    >>> [p.offset for p in ring.after(Position("e", 1), now=0)]
    [2, 3]
    """

    __slots__ = ("_kept", "_retention", "position")

    def __init__(
        self,
        position: Position,
        retention: Retention,
        kept: Iterable[Publication] = (),
    ) -> None:
        self.position = position
        self._retention = retention
        self._kept: deque[Publication] = deque(kept, maxlen=retention.messages)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def last(self) -> Publication | None:
        """The newest message that is kept."""
        return self._kept[-1] if self._kept else None

    def __iter__(self) -> Iterator[Publication]:
        return iter(self._kept)

    def has(self, publication: Publication) -> bool:
        """Whether this very message has come already.

        Of those that are not kept any longer only the place is known.
        """
        ahead = publication.offset - self.position.offset
        if publication.epoch != self.position.epoch or ahead > 0:
            return False
        return -ahead >= len(self._kept) or self._kept[ahead - 1] == publication

    def is_followed_by(self, missing: Sized, end: Position) -> bool:
        """Whether ``missing`` are all that came from here to ``end``."""
        epoch, offset = self.position
        return epoch == end.epoch and len(missing) == end.offset - offset

    def append(self, publication: Publication) -> None:
        """The next message has come."""
        self.position = Position(publication.epoch, publication.offset)
        self._kept.append(publication)

    def after(self, position: Position, now: float) -> list[Publication]:
        """What came behind ``position``: all of it, in order.

        Raises:
            HistoryLost: some of it is gone, or the position is of another epoch, or of
                the future.
        """
        self.expire(now)
        if position.epoch != self.position.epoch:
            raise HistoryLost(f"epoch {position.epoch!r} is over")
        missing = self.position.offset - position.offset
        if missing < 0:
            raise HistoryLost(f"offset {position.offset} has not come yet")
        if missing > len(self._kept):
            raise HistoryLost(f"what came behind offset {position.offset} is not kept")
        return list(self._kept)[len(self._kept) - missing :]

    def since(self, time: float, now: float) -> list[Publication]:
        """What is kept of what came at ``time`` (Unix seconds) or later.

        That is all behind the first of that time: a clock may have been set back.
        """
        self.expire(now)
        return list(dropwhile(lambda each: each.time < time, self._kept))

    def all(self, now: float) -> list[Publication]:
        """All that is kept."""
        return self.since(0.0, now)

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        horizon = now - self._retention.seconds
        while self._kept and self._kept[0].time < horizon:
            self._kept.popleft()
