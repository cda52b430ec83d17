"""What reports of the Autobahn testsuite say: tables, and whether all is well.

    python -m tests.conformance.summary server/index.json client/index.json

The tables are Markdown. The exit code is 1 if a case failed, was left out or did not
close cleanly with the right code, or if the reports do not hold the same cases.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Case", "main", "read", "table"]

SECTIONS = {
    1: "Framing",
    2: "Pings and Pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing",
    9: "Limits and performance",
    10: "Miscellaneous",
    12: "Deflate: payloads",
    13: "Deflate: parameters",
}
BEHAVIOR = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "UNIMPLEMENTED")
CLOSING = ("OK", "INFORMATIONAL", "FAILED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT")
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}


class Case(NamedTuple):
    """One case: its number, and the suite's verdicts on behaviour and closing."""

    number: tuple[int, ...]
    behavior: str
    closing: str

    @property
    def fine(self) -> bool:
        """Whether it may stay as it is."""
        return {self.behavior, self.closing} <= FINE

    def __str__(self) -> str:
        number = ".".join(map(str, self.number))
        return f"{number}: {self.behavior}, closing {self.closing}"


def read(report: Path) -> list[Case]:
    """The cases of a report on one implementation, in order."""
    return sorted(
        Case(tuple(map(int, name.split("."))), case["behavior"], case["behaviorClose"])
        for cases in json.loads(report.read_text()).values()
        for name, case in cases.items()
    )


def table(cases: list[Case]) -> str:
    """How many cases of each section got which verdicts."""
    heads = ["Section", "Cases", *BEHAVIOR, *(f"closing {word}" for word in CLOSING)]
    rows = [heads, [":--"] + ["--:"] * (len(heads) - 1)]
    for section in sorted({case.number[0] for case in cases}):
        some = [case for case in cases if case.number[0] == section]
        rows.append([f"{section} {SECTIONS[section]}", *_counts(some)])
    rows.append(["all", *_counts(cases)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _counts(cases: list[Case]) -> list[str]:
    behavior = [sum(case.behavior == word for case in cases) for word in BEHAVIOR]
    closing = [sum(case.closing == word for case in cases) for word in CLOSING]
    return [str(count) for count in (len(cases), *behavior, *closing)]


def main(*names: str) -> int:
    """Print what the reports say; return the exit code."""
    reports = {Path(name): read(Path(name)) for name in names}
    for report, cases in reports.items():
        wrong = sum(not case.fine for case in cases)
        print(f"{report}: {len(cases)} cases, {wrong} wrong\n\n{table(cases)}\n")
        for case in cases:
            if (case.behavior, case.closing) != ("OK", "OK"):
                print(f"{case}{'' if case.fine else ' WRONG'}")
        print()
    if len({tuple(case.number for case in cases) for cases in reports.values()}) > 1:
        print("WRONG: these reports hold different cases, so a run was cut short")
        return 1
    if not all(reports.values()):
        print("WRONG: no case was run")
        return 1
    return 0 if all(case.fine for cases in reports.values() for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
