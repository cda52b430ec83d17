"""One timer for all sockets' heartbeats, spread over the interval.

Fifteen thousand pings at once would be a burst that delays everything else; so members
are dealt round robin into slots, and the wheel beats one slot at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from gevent import get_hub

__all__ = ["Wheel"]

Slot = TypeVar("Slot")

_SLOTS_PER_SECOND = 8
_MAX_SLOTS = 256
"""Of 15,000 sockets, 60 are in each then; with an hour between pings, too."""


class Wheel(Generic[Slot]):
    """Calls ``beat(slot)`` for each of its slots once in ``interval_s`` seconds.

    ``check(slot)``, if given, follows each beat after ``check_after_s``, which is at
    most the interval. The caller makes the slots and says what they hold. Both run in
    the hub and must not wait; the timer only runs between :meth:`start` and
    :meth:`stop`.

    >>> wheel = Wheel(3.0, set, lambda sockets: None)
    >>> wheel.next_slot().add("a socket")
    """

    def __init__(
        self,
        interval_s: float,
        make_slot: Callable[[], Slot],
        beat: Callable[[Slot], object],
        check: Callable[[Slot], object] | None = None,
        check_after_s: float = 0.0,
    ) -> None:
        count = min(_MAX_SLOTS, max(1, round(interval_s * _SLOTS_PER_SECOND)))
        self._slots = [make_slot() for _ in range(count)]
        self._tick_s = interval_s / count
        self._beat = beat
        self._check = check
        self._lag = min(count, max(1, round(check_after_s / self._tick_s)))
        self._joined = 0
        self._ticks = 0
        self._timer = get_hub().loop.timer(self._tick_s, self._tick_s, ref=False)
        self._beating = False

    @property
    def slots(self) -> Iterable[Slot]:
        """All slots, to look at their members."""
        return self._slots

    def next_slot(self) -> Slot:
        """The slot for one more member, which the caller puts in and takes out.

        Its first beat comes within one interval.
        """
        self._joined += 1
        return self._slots[self._joined % len(self._slots)]

    def start(self) -> None:
        """Start beating; again is harmless."""
        if not self._beating:
            self._beating = True
            self._timer.start(self._tick)

    def stop(self) -> None:
        """Stop beating, for good."""
        self._timer.stop()
        self._timer.close()

    def _tick(self) -> None:
        self._ticks += 1
        if self._check is not None and self._ticks > self._lag:
            self._check(self._slots[(self._ticks - self._lag) % len(self._slots)])
        self._beat(self._slots[self._ticks % len(self._slots)])
