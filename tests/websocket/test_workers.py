"""Greenlets that are lent to sockets."""

from __future__ import annotations

import logging
from contextvars import ContextVar, copy_context
from functools import partial

import gevent
import pytest
from gevent import get_hub, getcurrent
from gevent.event import Event

from gateway.websocket.workers import _MAX_IDLE, Workers
from tests.support import eventually


def test_a_greenlet_is_used_again() -> None:
    workers = Workers()
    seen: list[object] = []
    for _ in range(3):
        workers.run(lambda: seen.append(getcurrent()))
        eventually(lambda: workers.busy == 0)
    assert len(set(seen)) == 1
    workers.stop()


@pytest.mark.parametrize("idle", [0, 1])
@pytest.mark.parametrize(
    ("how", "expected"), [("run_now", ["job", "hub"]), ("run", ["hub", "job"])]
)
def test_when_a_job_starts_in_the_hub(how: str, expected: list[str], idle: int) -> None:
    """What the loop is in the middle of is not interrupted unless it says so."""
    workers = Workers()
    if idle:
        workers.run(lambda: None)
        eventually(lambda: workers.idle)
    order: list[str] = []

    def in_hub() -> None:
        getattr(workers, how)(order.append, "job")
        order.append("hub")

    get_hub().loop.run_callback(in_hub)
    eventually(lambda: len(order) == 2)
    assert order == (expected if idle else ["hub", "job"])  # a new one has to start
    workers.stop()


_name: ContextVar[str] = ContextVar("name", default="nobody")


@pytest.mark.parametrize("how", ["run", "run_now", "spawn"])
def test_a_job_sees_no_context_but_its_own(how: str) -> None:
    """Neither of the job before it, nor of whoever asked for it."""
    workers = Workers()
    seen: list[str] = []
    left: list[str] = []

    def job(name: str) -> None:
        seen.append(_name.get())
        _name.set(name)
        gevent.sleep(0)
        left.append(_name.get())

    workers.run(gevent.sleep)
    eventually(lambda: workers.idle)
    for name in ("ann", "bob"):
        asking = copy_context()
        asking.run(_name.set, "who asks")
        get_hub().loop.run_callback(asking.run, getattr(workers, how), job, name)
        eventually(partial(left.__contains__, name))
    assert seen == ["nobody", "nobody"]
    assert _name.get() == "nobody"
    workers.stop()


def test_a_greenlet_of_its_own_is_never_used_again() -> None:
    workers = Workers()
    seen: list[object] = []
    for _ in range(3):
        workers.spawn(lambda: seen.append(getcurrent()))
        workers.run(lambda: seen.append(getcurrent()))
        eventually(lambda: workers.busy == 0)
    assert len(set(seen)) == 4
    workers.stop()
    assert not workers._all


def test_jobs_that_wait_do_not_hold_up_others() -> None:
    workers, go, done = Workers(), Event(), []
    workers.run(lambda: (go.wait(), done.append("slow")))
    workers.run(lambda: done.append("quick"))
    eventually(lambda: done == ["quick"])
    assert workers.busy == 1
    go.set()
    eventually(lambda: done == ["quick", "slow"])
    workers.stop()


def test_a_failing_job_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = Workers()
    done: list[int] = []
    with caplog.at_level(logging.ERROR, "gateway.websocket"):
        workers.run(lambda: 1 / 0)
        workers.run(done.append, 1)
        eventually(lambda: done == [1])
    assert "ZeroDivisionError" in caplog.text
    workers.stop()


def test_idle_greenlets_are_bounded() -> None:
    workers, go = Workers(), Event()
    for _ in range(_MAX_IDLE + 20):
        workers.run(go.wait)
    eventually(lambda: workers.busy == _MAX_IDLE + 20)
    go.set()
    eventually(lambda: workers.busy == 0)
    assert len(workers._all) == _MAX_IDLE
    workers.stop()
    assert not workers._all


def test_stop_waits_then_kills() -> None:
    workers, ends = Workers(), []

    def stubborn() -> None:
        try:
            Event().wait()
        finally:
            ends.append("killed")

    workers.run(lambda: (gevent.sleep(0.01), ends.append("finished")))
    workers.run(stubborn)
    gevent.sleep(0)
    workers.stop(timeout=0.05)
    assert ends == ["finished", "killed"]


@pytest.mark.parametrize("how", ["run", "spawn"])
def test_a_job_may_stop_its_workers(how: str) -> None:
    """All others; itself it can finish."""
    workers, ends = Workers(), []

    def stop() -> None:
        workers.stop(timeout=None)
        gevent.sleep(0)
        ends.append("finished")

    workers.run(lambda: (gevent.sleep(0.01), ends.append("waited for")))
    getattr(workers, how)(stop)
    eventually(lambda: len(ends) == 2)
    assert ends == ["waited for", "finished"]
    eventually(lambda: not workers._all)


@pytest.mark.parametrize("how", ["run", "spawn"])
def test_a_job_that_exits_is_not_logged(
    caplog: pytest.LogCaptureFixture, how: str
) -> None:
    workers = Workers()
    getattr(workers, how)(lambda: getcurrent().kill())  # type: ignore[attr-defined]
    eventually(lambda: workers.busy == 0)
    assert not caplog.records
    workers.stop()
