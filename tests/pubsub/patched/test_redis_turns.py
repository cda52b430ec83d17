from __future__ import annotations

import gevent
from gevent.event import Event

from gateway.pubsub.redis_turns import Turns


def test_those_who_wait_come_in_their_order() -> None:
    turns, came = Turns(1), list[int]()
    turns.take(1.0)

    def work(number: int) -> None:
        assert turns.take(5.0)
        came.append(number)
        turns.give_back()

    waiting = [gevent.spawn(work, number) for number in range(10)]
    gevent.idle()
    turns.give_back()
    gevent.joinall(waiting, raise_error=True)
    assert came == list(range(10))


def test_a_busy_loop_is_gone_round_once_for_each_who_waits() -> None:
    """Not four times, as with the standard library's semaphore."""
    turns, rounds, over = Turns(10), 0, Event()

    def go_round() -> None:
        nonlocal rounds
        while not over.is_set():
            rounds += 1
            gevent.sleep()

    def work() -> None:
        assert turns.take(30.0)
        gevent.sleep()
        turns.give_back()

    busy = gevent.spawn(go_round)
    gevent.joinall([gevent.spawn(work) for _ in range(300)], raise_error=True)
    over.set()
    busy.join()
    assert rounds < 450


def test_who_is_killed_while_waiting_takes_no_turn_along() -> None:
    turns = Turns(1)
    turns.take(1.0)
    early, late = gevent.spawn(turns.take, 5.0), gevent.spawn(turns.take, 5.0)
    gevent.idle()
    early.kill()
    turns.give_back()
    assert late.get(timeout=5.0)


def test_who_is_killed_as_its_turn_comes_passes_it_on() -> None:
    turns = Turns(1)
    turns.take(1.0)
    early, late = gevent.spawn(turns.take, 5.0), gevent.spawn(turns.take, 5.0)
    gevent.idle()
    early.kill(block=False)  # it happens in the loop, and the turn comes before
    turns.give_back()
    assert late.get(timeout=5.0)
