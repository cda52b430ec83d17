"""What a case finds, and how it is told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

__all__ = ["Result", "Run", "main", "number", "table"]

_FAILED = "the case failed"


@dataclass(frozen=True)
class Result:
    """One figure. ``at_most`` and ``at_least`` are its bar, if it has one.

    >>> Result.of("fanout", "ours / floor", [1.1, 1.2, 1.4], "×", at_most=1.25).value
    1.2
    """

    bench: str
    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @classmethod
    def of(
        cls,
        bench: str,
        name: str,
        values: Sequence[float],
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        note: str = "",
    ) -> Result:
        """The median of several turns; the note says how far they differed."""
        if len(values) > 1:
            low, high = number(min(values)), number(max(values))
            spread = f"{low} to {high} in {len(values)} turns"
            note = "; ".join(filter(None, (spread, note)))
        return cls(bench, name, median(values), unit, at_most, at_least, note)

    @classmethod
    def failure(cls, bench: str, why: str) -> Result:
        """Stands where a case should have given figures."""
        return cls(bench, _FAILED, 0.0, "", note=why)

    @property
    def is_failure(self) -> bool:
        """Whether the case failed, for the reason in the note."""
        return self.name == _FAILED

    @property
    def bar(self) -> str:
        """The bar as people write it."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    @property
    def is_met(self) -> bool | None:
        """Whether the figure meets its bar; None if it has none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    def __str__(self) -> str:
        if self.is_failure:
            return f"{self.name}: {self.note}"
        told = f"{self.name}: {number(self.value)} {self.unit}"
        return f"{told} (bar {self.bar})" if self.bar else told

    def json(self) -> str:
        """One line that other programs can read."""
        return json.dumps({**asdict(self), "bar": self.bar}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Result:
        """What :meth:`json` has written."""
        fields = json.loads(line)
        del fields["bar"]
        return cls(**fields)


Run = Callable[[bool], Iterator[Result]]
"""A case: told whether to be quick, it gives its figures one after the other."""


def number(value: float) -> str:
    """As people write it: 1,234, 12.3, 0.123."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(results: Sequence[Result]) -> str:
    """The figures in Markdown."""
    lines = ["| case | what | measured | unit | bar | |", "|---|---|---:|---|---|---|"]
    for each in results:
        met = {True: "met", False: "**missed**", None: ""}[each.is_met]
        value = "**failed**" if each.is_failure else number(each.value)
        told = "; ".join(filter(None, (met, " ".join(each.note.split()))))
        cells = (each.bench, each.name, value, each.unit, each.bar, told)
        escaped = (cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines)


def main(run: Run) -> None:
    """``python -m bench.CASE [--quick] [--json]``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer, shorter runs")
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    results = []
    try:
        for result in run(options.quick):
            results.append(result)
            if options.json:
                print(result.json(), flush=True)
    except Exception as exc:
        if options.json:
            why = f"{type(exc).__name__}: {exc}"
            print(Result.failure(Path(sys.argv[0]).stem, why).json(), flush=True)
        raise
    finally:
        if not options.json:
            print(table(results))
