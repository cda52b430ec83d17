"""Writing to many, a slice at a time.

A :class:`Batch` is of outboxes that have something to write each. A crowd that hears
the same is written to in a :class:`Round` instead: nothing is noted down for each
reader. It takes so long that the next messages come meanwhile. Each reader gets, when
it is its turn, all that has come since its last one. Who has been written to lacks what
comes next; so at any moment the crowd is in a few groups of readers who lack the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from gateway.websocket.frames import Encoding, Message

if TYPE_CHECKING:
    from gateway.websocket.multicast import Reader
    from gateway.websocket.outbox import Outbox

__all__ = ["Batch", "Round"]

_AT_ONCE = 16
"""So many are written to between two looks at the clock."""


class Batch:
    """Outboxes that have something to write, first come, first served."""

    def __init__(self, outboxes: list[Outbox]) -> None:
        outboxes.reverse()  # written from its end, which is cheap to cut off
        self._outboxes = outboxes

    def write(self, until: float) -> bool:
        """Write until that time of the performance counter; whether all is written."""
        outboxes = self._outboxes
        while outboxes and perf_counter() < until:
            for outbox in reversed(outboxes[-_AT_ONCE:]):
                outbox.flush()
            del outboxes[-_AT_ONCE:]
        return not outboxes


class _Group(NamedTuple):
    """Readers with one encoding who lack the same frames, the next one last."""

    encoding: Encoding
    readers: list[Reader]
    frames: list[bytes]

    def join(self) -> bytes:
        """What they lack, in one piece; joined once for all of them."""
        if len(self.frames) > 1:
            self.frames[:] = [b"".join(self.frames)]
        return self.frames[0]


class Round:
    """Writes to ``readers``, by encoding, what is added. They must not change."""

    def __init__(self, readers: Mapping[Encoding, Iterable[Reader]]) -> None:
        self._lacking: deque[_Group] = deque()
        self._served = {encoding: list(some) for encoding, some in readers.items()}

    def add(self, messages: list[Message]) -> None:
        """All are to get these, after what they lack already."""
        for encoding, served in self._served.items():
            frames = [message.encode(encoding) for message in messages]
            for group in self._lacking:
                if group.encoding == encoding:
                    group.frames.extend(frames)
            if served:
                served.reverse()
                self._lacking.append(_Group(encoding, served, frames))
                self._served[encoding] = []

    def write(self, until: float) -> bool:
        """Write until that time of the performance counter; whether all is written.

        It ends early with a group: if more has come, the next one gets it, too.
        """
        if not self._lacking:
            return True  # it was scattered
        encoding, readers, _ = group = self._lacking[0]
        frames, served = group.join(), self._served[encoding]
        while readers and perf_counter() < until:
            some = readers[-_AT_ONCE:]
            some.reverse()
            del readers[-_AT_ONCE:]
            served += some
            for reader in some:
                reader.write(frames)
        if not readers:
            self._lacking.popleft()
        return not self._lacking

    def scatter(self) -> None:
        """Leave it to the readers themselves to write what they lack."""
        while self._lacking:
            group = self._lacking.popleft()
            frames = group.join()
            for reader in reversed(group.readers):
                reader.take(frames)
