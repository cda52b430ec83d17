from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import sleep

from gateway.pubsub.redis_turns import Turns


def test_no_more_threads_than_turns() -> None:
    turns, counting = Turns(3), Lock()
    under_way = most = 0

    def work() -> None:
        nonlocal under_way, most
        for _ in range(50):
            assert turns.take(10.0)
            with counting:
                under_way += 1
                most = max(most, under_way)
            sleep(0.0001)
            with counting:
                under_way -= 1
            turns.give_back()

    _in_threads(work)
    assert most == 3


def test_a_turn_that_comes_at_the_last_moment_is_not_lost() -> None:
    turns = Turns(1)

    def work() -> None:
        for _ in range(1000):
            if turns.take(0.0001):
                sleep(0.0001)
                turns.give_back()

    _in_threads(work)
    assert turns.take(0.0)
    assert not turns.take(0.0)


def _in_threads(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(work) for _ in range(8)]:
            each.result()
