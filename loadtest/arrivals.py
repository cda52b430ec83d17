"""Sockets open at a fixed rate, however long the server takes for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

import gevent

__all__ = ["Arrivals"]

Job = Callable[[float], object]


class Arrivals:
    """Starts jobs ``rate`` times a second, each in a greenlet of its own.

    A job is called with the time of its slot (of the monotonic clock), which is before
    now if the generator is late. What waits for its slot was not due before.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._waiting: deque[Job] = deque()
        self._running: gevent.Greenlet[..., None] | None = None

    def add(self, job: Job) -> None:
        """``job`` gets the next free slot."""
        self._waiting.append(job)
        if self._running is None:
            self._running = gevent.spawn(self._run)

    def stop(self) -> None:
        """Start no more jobs."""
        self._waiting.clear()

    def _run(self) -> None:
        slot = monotonic()
        while self._waiting:
            gevent.spawn(self._waiting.popleft(), slot)
            slot += self._interval
            gevent.sleep(max(0.0, slot - monotonic()))
        self._running = None
