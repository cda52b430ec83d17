"""All that was measured, of all processes, merged as it comes in."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import Any

from loadtest.samples import ROUGH, histogram, percentiles

__all__ = ["Record"]

Figures = dict[str, float]


class Record:
    """Histograms and counts by second, errors, and the generator's own figures."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.processes: dict[str, list[Figures]] = {}
        self._totals: defaultdict[str, Any] = defaultdict(histogram)
        self._seconds: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._by_second: defaultdict[tuple[int, str], Any] = defaultdict(
            partial(histogram, ROUGH)
        )

    def merge(self, taken: dict[str, Any]) -> None:
        """Add what :meth:`loadtest.samples.Samples.take` gave in some process."""
        self.errors.update(taken["errors"])
        for name, encoded in taken["latencies"].items():
            self._totals[name].decode_and_add(encoded)
        for second, values in taken["seconds"].items():
            self.counts.update(values["counts"])
            self._seconds[int(second)].update(values["counts"])
            for name, encoded in values["latencies"].items():
                self._by_second[int(second), name].decode_and_add(encoded)

    def latencies(self) -> dict[str, Figures]:
        """The percentiles of everything, by name."""
        return {name: percentiles(total) for name, total in self._totals.items()}

    def while_measured(self, name: str, other: str) -> Figures:
        """The percentiles of ``name`` in those seconds in which ``other`` was sampled.

        Empty if there are none.
        """
        merged = histogram(ROUGH)
        for second, sampled in list(self._by_second):
            if sampled == other and (second, name) in self._by_second:
                merged.add(self._by_second[second, name])
        return percentiles(merged) if merged.get_total_count() else {}

    def series(self, begin: float, end: float) -> list[dict[str, Any]]:
        """A row for every second from ``begin`` to ``end``."""
        rows = []
        sockets = 0
        for second in range(int(begin), int(end) + 1):
            counts = self._seconds.get(second, Counter())
            sockets += counts["opened"] - sum(
                number for name, number in counts.items() if name.startswith("closed:")
            )
            figures = {
                name: percentiles(self._by_second[second, name])
                for name in self._totals
                if (second, name) in self._by_second
            }
            row = {"second": second, "sockets": sockets, "counts": dict(counts)}
            rows.append({**row, "latencies": figures})
        return rows
