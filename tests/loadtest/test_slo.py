"""Objectives are read as they are meant, and judged by the merged figures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from loadtest.slo import parse
from loadtest.verdict import invalid, judge

LATENCIES = ("deliver", "connect", "rtt")

RESULT: dict[str, Any] = {
    "phases": {"start": 0, "hold": 10, "drain": 20, "end": 21},
    "counts": {},
    "latest_send_s": 0.1,
    "ledger": {
        **{"asked": 10, "failed": 2, "dropped": 1, "sent": 100, "late": 2},
        **{"expected": 1000, "received": 997, "lost": 3, "duplicated": 0},
    },
    "latencies": {
        "deliver": {"p99": 120.0, "p99.9": 140.0, "p99.99": 150.0},
        "rtt": {"p50": 0.9, "max": 1500.0},
    },
    "lag": {"deliver": {"p99": 5.0}},
    "processes": {},
}


@pytest.mark.parametrize(
    ("text", "value", "unit", "met"),
    [
        ("p99<250ms", 120.0, "ms", True),
        ("p99<120", 120.0, "ms", False),
        ("p99 <= 0.12s", 120.0, "ms", True),
        ("p99.9<130ms", 140.0, "ms", False),
        ("deliver.p99.99<=150000us", 150.0, "ms", True),
        ("rtt.p50<900us", 0.9, "ms", False),
        ("rtt.max<2s", 1500.0, "ms", True),
        ("connect.p99<1s", None, "ms", False),  # nothing was measured
        ("lost=0", 3, "", False),
        ("lost<0.5%", 0.3, "%", True),
        ("failed<=2", 2, "", True),
        ("failed<20%", 20, "%", False),
        ("duplicated=0", 0, "", True),
        ("late<3", 2, "", True),
    ],
)
def test_one_objective(text: str, value: float | None, unit: str, met: bool) -> None:
    (row,) = judge(RESULT, parse(text, LATENCIES))
    assert row == {
        "objective": text,
        "value": None if value is None else pytest.approx(value),
        "unit": unit,
        "met": met,
    }


def test_several_objectives() -> None:
    assert [one.figure for one in parse("p99<250ms, lost=0,")] == ["p99", "lost"]


def test_the_latency_that_is_meant_is_the_scenario_s_first() -> None:
    (objective,) = parse("p99<250ms", ("rtt", "connect"))
    assert objective.metric == "rtt"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fast", "'fast' is no objective; write p99<250ms or lost=0"),
        ("", "there is no objective; write p99<250ms or lost=0"),
        ("speed<3", "speed is not measured; there are p50, p75"),
        ("p98<3ms", "p98 is not measured; there are p50, p75"),
        ("back.p99<1s", "back is not measured here; there are deliver, connect, rtt"),
        ("p99<5min", "min is no unit of time; write us, ms or s"),
        ("p99<5%", "% is no unit of time; write us, ms or s"),
        ("p99>5ms", "less is better here; write p99<5"),
        ("p99=5ms", "no latency is that; write p99<250ms"),
        ("p99<0ms", "no latency is that; write p99<250ms"),
        ("lost<5ms", "lost is a number; write lost=0 or <1%"),
        ("lost<0.5", "lost is a number; write lost=0 or <1%"),
        ("rtt.lost=0", "lost is a number; write lost=0 or <1%"),
        ("lost=5", "makes no sense; write lost=0 or lost<5"),
        ("lost<0", "makes no sense; write lost=0 or lost<5"),
        ("lost>=0", "less is better here"),
    ],
)
def test_what_cannot_be_judged_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse(text, LATENCIES)


def usage(*cpu: float, begin: float = 10.0) -> list[dict[str, float]]:
    """A second each, from ``begin`` on."""
    return [
        {"at": begin + second + 1, "seconds": 1.0, "cpu": percent}
        for second, percent in enumerate(cpu)
    ]


def why(**changes: Any) -> list[str]:
    return invalid({**RESULT, **changes}, parse("p99<250ms,lost=0"))


def test_a_generator_with_time_to_spare_is_believed() -> None:
    assert why(processes={"worker a": usage(*[80.0] * 10)}) == []
    assert why(processes={"worker a": usage(100.0, 100.0, *[80.0] * 8)}) == []


def test_a_generator_that_is_busy_for_long_is_not() -> None:
    assert why(processes={"worker a": usage(*[97.0] * 3, *[50.0] * 7)}) == [
        "worker a of the generator was busy for 3 of 10 s while measuring"
    ]
    assert why(processes={"worker a": usage(*[97.0] * 9, begin=0.0)}) == [
        "worker a of the generator was busy for 9 of 9 s while sockets arrived"
    ]


def test_a_generator_that_is_late_is_not() -> None:
    ledger = {**RESULT["ledger"], "late": 6}
    assert why(ledger=ledger) == ["6 of 100 messages were sent late"]
    assert why(latest_send_s=1.4) == ["a message was sent 1.4 s late"]
    assert why(counts={"opened_late": 1}) == ["1 of 10 sockets were opened late"]
    latencies = {**RESULT["latencies"], "lag": {"p75": 80.0}}
    assert why(latencies=latencies) == [
        "the generator was late by 80 ms a quarter of the time"
    ]


def test_an_objective_that_the_generator_s_own_lag_has_broken_proves_nothing() -> None:
    latencies = {"deliver": {"p99": 300.0}}
    assert why(latencies=latencies, lag={"deliver": {"p99": 20.0}}) == []
    assert why(latencies=latencies, lag={"deliver": {"p99": 60.0}}) == [
        "p99<250ms was missed, by no more than the generator's own lag of 60 ms"
    ]
    # Lag makes latencies longer, so one that is met all the same is met.
    assert why(lag={"deliver": {"p99": 110.0}}) == []
