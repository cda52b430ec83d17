"""What Locust shows of it, and what a user costs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import gevent
import pytest
from locust import argument_parser

from tests.loadtest.faulty import Cable, Faulty
from tests.loadtest.patched.conftest import Bench
from tests.support import eventually
from tests.support.live import LiveServer
from tests.websocket.conftest import Serve

CABLE = {"subprotocols": Cable.subprotocols}

Make = Callable[..., Bench]

_MOST_BYTES = 12 * 1024


def test_a_worker_makes_locust_s_parser_once() -> None:
    """It asks for it once for each option of each message."""
    defaults = argument_parser.default_args_dict
    assert defaults()
    assert defaults() is defaults()


def test_mishaps_are_failures_in_locust_s_own_statistics(
    bench: Make, serve: Serve
) -> None:
    def fate(text: str, number: int, reader: int) -> list[str]:
        """Two of ten are lost, one comes twice."""
        return {2: [], 3: [], 5: [text, text]}.get(number, [text])

    made = bench("fanout", serve(Cable(fate), **CABLE).url, 3, hold=1, rate=10)
    made.start()
    ledger = made.finish()["ledger"]
    assert (ledger["lost"], ledger["duplicated"]) == (6, 3)
    stats = made.environment.stats
    deliver = stats.get("deliver", "WS")
    assert deliver.num_failures == 6 + 3
    assert deliver.num_requests == 8 * 3 + 6 + 3
    assert stats.total.num_failures == 9
    found = {(e.name, e.error): e.occurrences for e in stats.errors.values()}
    assert found == {("deliver", "lost"): 6, ("deliver", "duplicated"): 3}
    assert ("lag", "WS") not in stats.entries
    assert made.environment.process_exit_code == 1


def test_latencies_are_locust_s_too(bench: Make, serve: Serve) -> None:
    made = bench("fanout", serve(Cable(), **CABLE).url, 3, hold=1, rate=10)
    made.start()
    result = made.finish()
    entry = made.environment.stats.get("deliver", "WS")
    ours = result["latencies"]["deliver"]
    assert entry.num_requests == ours["count"] == 30
    assert entry.num_failures == 0
    assert entry.max_response_time == pytest.approx(ours["max"], rel=0.01)
    assert entry.min_response_time == pytest.approx(ours["min"], rel=0.01)
    assert made.environment.process_exit_code in (None, 4)  # 4: we were too busy


def test_failed_connections_are_failures(bench: Make, serve: Serve) -> None:
    server = serve(Faulty())
    server.stop()
    made = bench("idle", server.url, 3, hold=1, dialect="plain")
    made.start()
    made.finish()
    assert made.environment.stats.get("connect", "WS").num_failures == 3
    assert made.environment.process_exit_code == 3


def greenlets() -> int:
    """How many have a stack: those that have begun and not ended."""
    found = (each for each in gc.get_objects() if isinstance(each, gevent.Greenlet))
    return sum(1 for each in found if each.gr_frame is not None)


def test_a_user_is_small_and_has_no_stack(bench: Make, live: LiveServer) -> None:
    made = bench("fanout", f"ws://127.0.0.1:{live.port}/cable", 300, hold=1, rate=5)
    made.lab.options.spawn_rate = 600
    gc.collect()
    before = greenlets()
    tracemalloc.start()
    begun, _ = tracemalloc.get_traced_memory()
    made.start()
    eventually(lambda: made.lab.measuring)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - begun
    tracemalloc.stop()
    assert greenlets() - before < 100  # idle workers for messages, and our own
    assert grown / 300 < _MOST_BYTES
    made.finish()


@pytest.mark.parametrize(
    "scenario",
    ["echo", "fanout", "rooms", "dashboard", "churn", "storm", "resume", "idle"],
)
def test_nothing_is_lost_in_any_scenario(
    bench: Make, live: LiveServer, scenario: str
) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    made = bench(scenario, url, 20, hold=3, rate=8, room_count=5)
    made.start()
    result = made.finish()
    ledger = result["ledger"]
    assert result["error"] is None
    faults = ("lost", "deaf", "duplicated", "reordered", "stray", "dropped", "failed")
    assert [ledger[name] for name in faults] == [0] * len(faults)
    assert (ledger["received"] > 0) == (scenario != "idle")
    comes_back = scenario in ("churn", "storm", "resume")
    assert (ledger["opened"] > 20) == comes_back


def test_readers_that_stall_are_not_in_the_ledger(
    bench: Make, live: LiveServer
) -> None:
    made = bench("slow_reader", f"ws://127.0.0.1:{live.port}/cable", 101, hold=1)
    made.lab.options.spawn_rate = 200
    made.start()
    result = made.finish()
    assert result["counts"]["stalled"] == 2
    assert result["ledger"]["received"] == 99 * result["ledger"]["sent"] > 0
    assert result["ledger"]["lost"] == 0
