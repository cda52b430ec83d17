"""Time and timers of the event loop, and jobs that come one at a time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

import gevent

from gateway.clock import LoopClock, LoopTimer, OneAtATime
from tests.support import eventually

Job = Callable[[], object]


def test_a_timer_runs_once() -> None:
    ran: list[int] = []
    timer = LoopTimer(0.001, lambda: ran.append(1))
    eventually(lambda: ran)
    other: list[int] = []
    later = LoopTimer(0.02, lambda: other.append(1))
    eventually(lambda: other)
    assert ran == [1]
    timer.cancel()
    later.cancel()


def test_or_again_and_again_until_it_is_cancelled() -> None:
    ran: list[int] = []
    timer = LoopTimer(0.001, lambda: ran.append(1), repeat=True)
    eventually(lambda: len(ran) > 2)
    timer.cancel()
    count, other = len(ran), list[int]()
    LoopTimer(0.02, lambda: other.append(1))
    eventually(lambda: other)
    assert len(ran) == count


def test_a_timer_runs_in_the_hub() -> None:
    """So what it does must not wait."""
    ran: list[object] = []
    timer = LoopTimer(0.0, lambda: ran.append(gevent.getcurrent()))
    eventually(lambda: ran)
    assert ran == [gevent.get_hub()]
    timer.cancel()


def test_the_clock() -> None:
    clock, ran = LoopClock(), list[int]()
    before, earlier = monotonic(), time()
    assert before <= clock.now() <= monotonic()
    assert earlier <= clock.unix() <= time()
    timer = clock.call_later(0.001, lambda: ran.append(1))
    eventually(lambda: ran)
    timer.cancel()


def test_a_job_that_waits_for_its_turn_is_not_posted_again() -> None:
    posted: list[Job] = []
    ran: list[int] = []

    def job() -> None:
        ran.append(1)
        one()  # it is due while it runs: it will run once more

    one = OneAtATime(posted.append, job)
    one()
    one()
    assert len(posted) == 1
    posted.pop()()
    assert len(posted) == 1
    one()
    assert len(posted) == 1
    assert ran == [1]
