"""The cable's clock, ticking with the event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from gevent import get_hub

__all__ = ["LoopClock", "LoopTimer", "OneAtATime"]


class LoopTimer:
    """An action that the loop will run, once or again and again, in the hub.

    The action must not wait.
    """

    __slots__ = ("_timer",)

    def __init__(
        self, seconds: float, action: Callable[[], object], *, repeat: bool = False
    ) -> None:
        loop = get_hub().loop
        self._timer = loop.timer(seconds, seconds if repeat else 0.0, ref=False)
        self._timer.start(action)

    def cancel(self) -> None:
        """It shall not run (again)."""
        self._timer.stop()
        self._timer.close()


class OneAtATime:
    """Posts a job, unless it is still waiting since the last time."""

    __slots__ = ("_job", "_post", "_waiting")

    def __init__(
        self,
        post: Callable[[Callable[[], object]], object],
        job: Callable[[], object],
    ) -> None:
        self._post = post
        self._job = job
        self._waiting = False

    def __call__(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._post(self._run)

    def _run(self) -> None:
        self._waiting = False
        self._job()


class LoopClock:
    """Time and timers of this thread's event loop."""

    def now(self) -> float:
        return monotonic()

    def unix(self) -> float:
        return time()

    def call_later(self, seconds: float, action: Callable[[], None]) -> LoopTimer:
        return LoopTimer(seconds, action)
