"""Service level objectives: ``p99<250ms,lost=0`` read, and judged."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from loadtest.samples import PERCENTILES

__all__ = ["Objective", "parse"]

_FORM = re.compile(
    r"(?:(?P<metric>[a-z]+)\.)?(?P<figure>p\d+(?:\.\d+)?|[a-z]+)"
    r"\s*(?P<relation><=|>=|<|>|=)"
    r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]+|%)?"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_FIGURES = (*(f"p{percent:g}" for percent in PERCENTILES), "min", "max")
_COUNTS = {
    "lost": "expected",
    "duplicated": "received",
    "reordered": "received",
    "failed": "asked",
    "dropped": "asked",
    "late": "sent",
}
"""What can be counted, and of how many it is a share."""


class Objective(NamedTuple):
    """One condition: a percentile of a latency in ms, or a number of mishaps."""

    text: str
    metric: str
    """The latency; empty if mishaps are counted."""
    figure: str
    relation: str
    bound: float
    unit: str
    """``ms``, ``%``, or nothing."""

    def judge(self, result: Mapping[str, Any]) -> tuple[float | None, bool]:
        """The measured value (None: nothing was measured), and whether it is met."""
        value = self._value(result)
        return value, value is not None and self.allows(value)

    def allows(self, value: float) -> bool:
        """Whether ``value`` would meet it."""
        return _COMPARE[self.relation](value, self.bound)

    def _value(self, result: Mapping[str, Any]) -> float | None:
        if self.metric:
            latency: Mapping[str, float] = result["latencies"].get(self.metric, {})
            return latency.get(self.figure)
        ledger: Mapping[str, int] = result["ledger"]
        if not self.unit:
            return float(ledger[self.figure])
        return 100 * ledger[self.figure] / max(1, ledger[_COUNTS[self.figure]])


def parse(text: str, latencies: Sequence[str] = ("deliver",)) -> list[Objective]:
    """Read objectives, separated by commas.

    ``latencies`` are those that will be measured; the first is meant where none is
    named.

    Raises:
        ValueError: one of them is none, or cannot be judged; says which, and what to
            write.

    >>> parse("p99.9<0.25s")[0].bound
    250.0
    >>> parse("rtt.p50<20ms, lost<0.1%", ("deliver", "rtt"))[1].unit
    '%'
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("there is no objective; write p99<250ms or lost=0")
    return [_objective(part, latencies) for part in parts]


def _objective(text: str, latencies: Sequence[str]) -> Objective:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no objective; write p99<250ms or lost=0")
    metric, figure, relation, number, unit = found.groups()
    if relation.startswith(">"):
        raise ValueError(f"{text!r}: less is better here; write {figure}<{number}")
    if figure in _COUNTS:
        return _mishaps(text, metric, figure, relation, float(number), unit or "")
    if figure not in _FIGURES:
        known = ", ".join((*_FIGURES, *_COUNTS))
        raise ValueError(f"{text!r}: {figure} is not measured; there are {known}")
    metric = metric or latencies[0]
    if metric not in latencies:
        known = ", ".join(latencies)
        raise ValueError(f"{text!r}: {metric} is not measured here; there are {known}")
    if unit not in (None, *_UNITS):
        raise ValueError(f"{text!r}: {unit} is no unit of time; write us, ms or s")
    bound = float(number) * _UNITS[unit or "ms"]
    if relation == "=" or bound == 0:
        raise ValueError(f"{text!r}: no latency is that; write {figure}<250ms")
    return Objective(text, metric, figure, relation, bound, "ms")


def _mishaps(
    text: str,
    metric: str | None,
    figure: str,
    relation: str,
    bound: float,
    unit: str,
) -> Objective:
    if metric is not None or unit not in ("", "%") or not (unit or bound.is_integer()):
        raise ValueError(f"{text!r}: {figure} is a number; write {figure}=0 or <1%")
    if (relation == "=" and bound) or (relation == "<" and not bound):
        raise ValueError(f"{text!r} makes no sense; write {figure}=0 or {figure}<5")
    return Objective(text, "", figure, relation, bound, unit)
