"""Runs with a load that is raised, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from loadtest import shapes
from loadtest.plan import NotMeasured, Plan

__all__ = ["STEP_PERCENTILES", "raise_load"]

STEP_PERCENTILES = ("p50", "p95", "p99", "p99.9")

_UNITS = {"sockets": "sockets", "rate": "messages a second"}


class _Stopped(Exception):
    """No other step need begin; says why."""


def raise_load(
    run: Callable[[Plan], dict[str, Any]],
    plan: Plan,
    shape: str,
    raised: str,
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Several runs, the load of which is raised up to that of ``plan``.

    ``shape`` is ``steps`` or ``knee``, ``raised`` is ``sockets`` or ``rate``. Returns
    the result of the run at the knee (or with the lowest load, if none met the
    objectives), to which all are added as ``knee``.

    Raises:
        NotMeasured: there is no result at all.
    """
    unit = _UNITS[raised]
    results: dict[float, dict[str, Any]] = {}
    steps: list[dict[str, Any]] = []

    def measure(load: float) -> dict[str, Any]:
        result = results[load] = run(_loaded(plan, raised, load))
        step = _step(load, result)
        steps.append(step)
        say(_line(step, raised))
        if result["stopped"] or not result["ledger"]["let_in"]:
            # Who stops one means all; and a server that is gone does not come back.
            raise _Stopped(result["error"] or "no socket was let in")
        return step

    most = float(plan.sockets if raised == "sockets" else plan.rate or 1.0)
    tidy = shapes.whole if raised == "sockets" else shapes.three_digits
    error = None
    try:
        (shapes.find_knee if shape == "knee" else shapes.steps)(measure, most, tidy)
    except (NotMeasured, _Stopped) as exc:
        if not steps:
            raise
        error = str(exc)
    steps.sort(key=lambda step: float(step["load"]))
    best = shapes.knee(steps)
    law = shapes.try_fit([step for step in steps if not step["error"]])
    shown = results[steps[0]["load"] if best is None else best]
    knee = {
        "unit": unit,
        "steps": steps,
        "load": best,
        "law": None if law is None else {**law._asdict(), "peak": law.peak},
        "sentence": shapes.sentence(steps, law, unit, most),
    }
    return {
        **shown,
        "knee": knee,
        "error": error,
        "invalid": shapes.doubts(steps),
    }


def _loaded(plan: Plan, raised: str, load: float) -> Plan:
    if raised == "rate":
        return replace(plan, rate=load)
    return replace(plan, sockets=int(load))


def _step(load: float, result: Mapping[str, Any]) -> dict[str, Any]:
    latency = result["latencies"].get(result["latency"], {})
    return {
        "load": int(load) if load.is_integer() else load,
        "throughput": result["throughput"],
        **{name: latency.get(name) for name in STEP_PERCENTILES},
        "slo": all(row["met"] for row in result["slo"]) and not result["error"],
        "invalid": result["invalid"],
        "error": result["error"],
    }


def _line(step: Mapping[str, Any], raised: str) -> str:
    verdict = "met" if step["slo"] else "missed"
    if step["invalid"]:
        verdict += ", INVALID"
    p99 = "no latency" if step["p99"] is None else f"p99 {step['p99']:g} ms"
    return (
        f"{step['load']:,g} {_UNITS[raised]}: {step['throughput']:,.0f} deliveries/s, "
        f"{p99}, {verdict}"
    )
