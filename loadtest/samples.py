"""Latencies and counts of one process, by second; merged, never averaged."""

from __future__ import annotations

from collections import Counter, defaultdict
from time import time
from typing import Any, Protocol

from hdrh.histogram import HdrHistogram

__all__ = [
    "EXACT",
    "LATE_NS",
    "LATE_S",
    "PERCENTILES",
    "ROUGH",
    "Ear",
    "Samples",
    "histogram",
    "percentiles",
]

EXACT, ROUGH = 3, 2
"""Digits to which a histogram tells values apart."""

_LONGEST_US = 600_000_000
LATE_S = 0.05
"""What is done so long after its time is counted late."""
LATE_NS = round(LATE_S * 1e9)

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)


def histogram(digits: int = EXACT) -> Any:
    """An empty histogram of microseconds, exact to so many digits."""
    return HdrHistogram(1, _LONGEST_US, digits)


class Ear(Protocol):
    """Who is told of samples and failures as they are given away."""

    def samples(self, name: str, microseconds: Counter[int]) -> None:
        """Latencies called ``name``, and how often each came."""

    def failure(self, name: str, kind: str, why: str, times: int) -> None:
        """Something called ``name`` failed."""


class Samples:
    """Counts what happens; :meth:`take` gives it away, to be merged elsewhere.

    A latency costs one addition: histograms are filled when they are given away.

    >>> samples = Samples()
    >>> samples.latency("rtt", 0.001)
    >>> samples.count("opened")
    >>> samples.failure("connect", "failed", "refused")
    >>> samples.take()["errors"]
    {'connect: refused': 1}
    """

    def __init__(self, ear: Ear | None = None) -> None:
        self._ear = ear
        self._latencies: defaultdict[int, defaultdict[str, Counter[int]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        self._counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._failures: Counter[tuple[str, str, str]] = Counter()

    def latency(self, name: str, seconds: float) -> None:
        """A sample; never zero, as nothing takes no time."""
        self._latencies[int(time())][name][max(1, round(seconds * 1e6))] += 1

    def count(self, name: str, number: int = 1) -> None:
        """Something happened."""
        self._counts[int(time())][name] += number

    def failure(self, name: str, kind: str, why: str = "", times: int = 1) -> None:
        """``name`` failed, which is counted as ``kind``; ``why`` in words."""
        self.count(kind, times)
        self._failures[name, kind, why or kind] += times

    def take(self) -> dict[str, Any]:
        """All since the last time, as plain values for the wire.

        Latencies are there twice: exact for the whole, and rough by second, so that
        who merges them need not look into a histogram.
        """
        latencies, self._latencies = (
            self._latencies,
            defaultdict(lambda: defaultdict(Counter)),
        )
        counts, self._counts = self._counts, defaultdict(Counter)
        failures, self._failures = self._failures, Counter()
        totals: defaultdict[str, Counter[int]] = defaultdict(Counter)
        seconds: defaultdict[str, dict[str, Any]] = defaultdict(
            lambda: {"latencies": {}, "counts": {}}
        )
        for second, by_name in latencies.items():
            for name, values in by_name.items():
                if self._ear is not None:
                    self._ear.samples(name, values)
                totals[name].update(values)
                seconds[str(second)]["latencies"][name] = _encode(values, ROUGH)
        for second, counter in counts.items():
            seconds[str(second)]["counts"] = dict(counter)
        errors: Counter[str] = Counter()
        for (name, kind, why), times in failures.items():
            if self._ear is not None:
                self._ear.failure(name, kind, why, times)
            errors[f"{name}: {why}"] += times
        return {
            "latencies": {name: _encode(all_) for name, all_ in totals.items()},
            "seconds": dict(seconds),
            "errors": dict(errors),
        }


def percentiles(merged: Any) -> dict[str, float]:
    """The figures of a histogram, in milliseconds."""
    figures = {
        f"p{percent:g}": merged.get_value_at_percentile(percent) / 1000
        for percent in PERCENTILES
    }
    return {
        "count": merged.get_total_count(),
        "min": merged.get_min_value() / 1000,
        **figures,
        "max": merged.get_max_value() / 1000,
    }


def _encode(values: Counter[int], digits: int = EXACT) -> str:
    filled = histogram(digits)
    for value, count in values.items():
        filled.record_value(min(value, _LONGEST_US), count)
    encoded: bytes = filled.encode()
    return encoded.decode()
