"""A load that is raised: what the runs say together, and what of it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.plan import NotMeasured, Plan
from loadtest.raised import raise_load
from loadtest.usl import Fit

BENT = Fit(10.0, 0.0005, 1e-6, 0, 0, 1)

PLAN = Plan(
    scenario="fanout",
    url="ws://127.0.0.1:1",
    sockets=800,
    duration=1.0,
    processes=1,
    arrival_rate=100.0,
    rate=10.0,
)


class Server:
    """Follows a law, breaks its objectives at some load, and dies at another."""

    def __init__(self, breaks_at: float = 600, dies_at: float = 1e9) -> None:
        self.breaks_at, self.dies_at = breaks_at, dies_at
        self.plans: list[Plan] = []

    def run(self, plan: Plan) -> dict[str, Any]:
        self.plans.append(plan)
        dead = plan.sockets >= self.dies_at
        return {
            "sockets": plan.sockets,
            "latency": "deliver",
            "latencies": {
                "deliver": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "p99.9": 4.0}
            },
            "throughput": BENT.at(plan.sockets),
            "ledger": {"let_in": 0 if dead else plan.sockets},
            "slo": [{"met": plan.sockets <= self.breaks_at}],
            "invalid": ["busy"] if plan.sockets > self.breaks_at else [],
            "error": "it is gone" if dead else None,
            "stopped": False,
        }


def raised(server: Server, what: str = "sockets") -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    return raise_load(server.run, PLAN, "knee", what, said.append), said


def test_the_run_at_the_knee_is_shown() -> None:
    summary, said = raised(Server(breaks_at=600))
    knee = summary["knee"]
    assert 500 < knee["load"] <= 600
    assert summary["sockets"] == knee["load"]
    assert summary["error"] is None
    assert knee["law"]["peak"] == pytest.approx(BENT.peak, rel=0.01)
    assert "measured beyond it" in knee["sentence"]
    loads = [step["load"] for step in knee["steps"]]
    assert loads == sorted(loads)
    assert len(said) == len(loads)
    assert said[0] == "50 sockets: 487 deliveries/s, p99 3 ms, met"


def test_a_first_miss_that_was_invalid_makes_the_knee_invalid() -> None:
    summary, _ = raised(Server(breaks_at=600))
    (reason,) = summary["invalid"]
    assert reason.endswith(": busy")


def test_where_nothing_was_met_the_lowest_load_is_shown() -> None:
    summary, _ = raised(Server(breaks_at=0))
    assert summary["knee"]["load"] is None
    assert summary["sockets"] == summary["knee"]["steps"][0]["load"]


def test_a_server_that_dies_ends_it_and_what_was_measured_is_kept() -> None:
    server = Server(dies_at=300)
    summary, _ = raised(server)
    assert summary["error"] == "it is gone"
    assert [plan.sockets for plan in server.plans] == [50, 100, 200, 400]
    assert summary["sockets"] == summary["knee"]["load"] == 200


def test_a_locust_that_dies_ends_it_and_what_was_measured_is_kept() -> None:
    server = Server()

    def run(plan: Plan) -> dict[str, Any]:
        if plan.sockets > 100:
            raise NotMeasured("Locust ended without a result")
        return server.run(plan)

    summary = raise_load(run, PLAN, "knee", "sockets", lambda sentence: None)
    assert summary["error"] == "Locust ended without a result"
    assert [step["load"] for step in summary["knee"]["steps"]] == [50, 100]
    with pytest.raises(NotMeasured):
        raise_load(
            lambda plan: run(PLAN), PLAN, "steps", "sockets", lambda sentence: None
        )


def test_rates_are_raised_and_sockets_stay() -> None:
    server = Server(breaks_at=1e9)
    summary, said = raised(server, "rate")
    assert {plan.sockets for plan in server.plans} == {800}
    assert min(plan.rate or 0 for plan in server.plans) == 0.625
    assert summary["knee"]["load"] == 10
    assert said[0].startswith("0.625 messages a second: ")
