"""Whether a result can be believed, and whether it meets its objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.ledger import GRACE_S
from loadtest.samples import LATE_S
from loadtest.slo import Objective

__all__ = ["invalid", "judge"]

_BUSY_PERCENT = 90.0
_MUCH = 0.25
"""The share of the time in which a generator may be busy, or late."""
_LATE_SHARE = 0.05


def invalid(result: Mapping[str, Any], objectives: Sequence[Objective]) -> list[str]:
    """Why the generator was too busy to measure anything; empty if it was not.

    A generator that is late makes latencies longer, never shorter: an objective that
    is met in spite of it is met. One that was missed may be the generator's own doing.
    """
    ledger = result["ledger"]
    reasons = [*_busy(result), *_lagging(result)]
    opened_late = result["counts"].get("opened_late", 0)
    if opened_late > ledger["asked"] * _LATE_SHARE:
        reasons.append(
            f"{opened_late:,} of {ledger['asked']:,} sockets were opened late"
        )
    if ledger["late"] > ledger["sent"] * _LATE_SHARE:
        reasons.append(
            f"{ledger['late']:,} of {ledger['sent']:,} messages were sent late"
        )
    if result["latest_send_s"] > GRACE_S:
        reasons.append(f"a message was sent {result['latest_send_s']:.1f} s late")
    for objective in objectives:
        value, met = objective.judge(result)
        lag = result["lag"].get(objective.metric, {}).get(objective.figure, 0.0)
        if value is not None and not met and objective.allows(value - lag):
            reasons.append(
                f"{objective.text} was missed, by no more than the generator's own lag "
                f"of {lag:,.0f} ms"
            )
    return reasons


def judge(
    result: Mapping[str, Any], objectives: Sequence[Objective]
) -> list[dict[str, Any]]:
    """The table of objectives: what was asked, what was measured, whether it is met."""
    rows = []
    for objective in objectives:
        value, met = objective.judge(result)
        row = {"objective": objective.text, "value": value, "unit": objective.unit}
        rows.append({**row, "met": met})
    return rows


def _busy(result: Mapping[str, Any]) -> list[str]:
    """Processes that used up their core, while sockets arrived or while measuring."""
    reasons = []
    phases = result["phases"]
    hold = phases.get("hold", phases["end"])
    spans = {
        "while sockets arrived": (phases["start"], hold),
        "while measuring": (hold, phases.get("drain", phases["end"])),
    }
    for name, usage in result["processes"].items():
        for when, (begin, end) in spans.items():
            seen = [
                one for one in usage if begin < one["at"] - one["seconds"] / 2 < end
            ]
            seconds = sum(one["seconds"] for one in seen)
            busy = sum(one["seconds"] for one in seen if one["cpu"] > _BUSY_PERCENT)
            if busy > seconds * _MUCH and busy > 1.5:
                reasons.append(
                    f"{name} of the generator was busy for {busy:.0f} of "
                    f"{seconds:.0f} s {when}"
                )
    return reasons


def _lagging(result: Mapping[str, Any]) -> list[str]:
    lag = result["latencies"].get("lag")
    if lag is None or lag["p75"] <= LATE_S * 1000:
        return []
    return [f"the generator was late by {lag['p75']:,.0f} ms a quarter of the time"]
