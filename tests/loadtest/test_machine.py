"""What is said of this machine, of its processes, and of the server's costs."""

from __future__ import annotations

from time import monotonic, process_time

import pytest

from loadtest.machine import Usage, describe, is_here, is_loopback
from loadtest.target import summary


def test_the_cpu_is_what_was_used_since_the_last_time() -> None:
    usage = Usage()
    usage.take(0)
    begin, until = monotonic(), process_time() + 0.1
    while process_time() < until:
        pass
    taken = usage.take(7)
    assert taken["seconds"] == pytest.approx(monotonic() - begin, abs=0.05)
    assert taken["cpu"] * taken["seconds"] / 100 == pytest.approx(0.1, abs=0.02)
    assert taken["sockets"] == 7
    assert taken["rss"] >= taken["base"] > 0


def test_where_the_server_is() -> None:
    assert is_here("ws://127.0.0.1:8000/cable")
    assert is_here("ws://localhost/cable")
    assert not is_here("ws://192.0.2.7/cable")
    assert not is_loopback("ws://192.0.2.7/cable")
    assert not is_here("ws://no.such.host.invalid/cable")
    assert describe("ws://127.0.0.1/")["server_is_here"]
    assert describe("ws://127.0.0.1/")["cores_allowed"] >= 1


def test_a_server_s_costs_are_less_what_it_needed_before() -> None:
    phases = {"start": 10.0, "hold": 20.0, "drain": 30.0, "end": 31.0}
    figures = [
        {"at": 8.0, "sockets": 0, "cpu_seconds": 1.0, "rss": 50_000_000},
        {"at": 10.0, "sockets": 0, "cpu_seconds": 1.1, "rss": 50_000_000},
        {"at": 15.0, "sockets": 900, "cpu_seconds": 4.0, "rss": 51_000_000},
        {"at": 20.0, "sockets": 2000, "cpu_seconds": 5.0, "rss": 54_000_000},
        {"at": 30.0, "sockets": 2000, "cpu_seconds": 8.0, "rss": 56_000_000},
    ]
    assert summary(figures, phases) == {
        "sockets": 2000,
        "cpu": 30.0,
        "cpu_before": pytest.approx(5.0),
        "cpu_per_1000": 12.5,
        "memory_bytes": 56_000_000,
        "memory_bytes_before": 50_000_000,
        "memory_bytes_per_1000": 3_000_000,
    }


def test_too_few_figures_or_sockets_tell_nothing() -> None:
    phases = {"start": 10.0, "hold": 20.0, "drain": 30.0, "end": 31.0}
    one = {"at": 5.0, "sockets": 0, "cpu_seconds": 1.0, "rss": 1}
    few = [{**one, "at": at, "sockets": 99} for at in (20.0, 25.0)]
    assert summary([], phases) is None
    assert summary([one], phases) is None
    assert summary([one, *few], phases) is None
