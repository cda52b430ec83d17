"""A socket that is none: it keeps what it is sent, and what is to be done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
import msgspec

from gateway.reasons import CloseReason

__all__ = ["Inaudible", "StubTimer", "StubWire"]


class StubTimer:
    """It does not tick by itself."""

    def __init__(self, job: Callable[[], object]) -> None:
        self.job = job

    def cancel(self) -> None:
        """It will not tick any more."""
        self.job = _nothing


def _nothing() -> None:
    """For timers that were cancelled."""


class StubWire:
    """The wire of a connection of the kit, or of one of its subscriptions."""

    _ids = count(1)

    extended = False
    waiting = 0
    failures = (Exception, gevent.Timeout)

    def __init__(self, id: str | None = None) -> None:
        self.id = id or f"stub-{next(self._ids)}"
        self.frames: list[Any] = []
        self.jobs: deque[Callable[[], object]] = deque()
        self.timers: list[StubTimer] = []
        self.closed: CloseReason | None = None

    @property
    def member(self) -> StubWire:
        return self

    def send_text(self, payload: bytes, /) -> None:
        self.frames.append(msgspec.json.decode(payload))

    def close(self, reason: CloseReason, /) -> None:
        self.closed = reason

    def post(self, job: Callable[[], object], /) -> None:
        self.jobs.append(job)

    def every(self, seconds: float, job: Callable[[], object], /) -> StubTimer:
        self.timers.append(StubTimer(job))
        return self.timers[-1]

    def later(self, seconds: float, job: Callable[[], object], /) -> StubTimer:
        return StubTimer(job)

    def announce(self, event: str, /, **about: Any) -> None:
        """Nobody listens."""


class Inaudible(set[StubWire]):
    """An audience of the kit's wires. A stream is heard by callbacks only: what it
    tells clients is no doing of the subscription, and not among its transmissions."""

    def send_text(
        self, payload: bytes, /, *, exclude: str = "", newest: bytes | None = None
    ) -> None:
        """Tell nobody."""
