"""The report of a run, in Markdown."""

from __future__ import annotations

from dataclasses import asdict

from tests.soak.checker import Checker, Verdict

__all__ = ["report", "table"]

_COLUMNS = {
    "kind": "client",
    "trial": "trial",
    "clients": "clients",
    "reconnects": "reconnects",
    "reopened": "reopened",
    "expected": "expected",
    "received": "received",
    "lost": "lost",
    "duplicated": "duplicated",
    "disordered": "out of order",
    "refused": "`reject_history`",
    "untold": "not told",
    "partial": "partial replays",
}


def table(verdicts: list[Verdict]) -> str:
    """What each kind of client got."""
    lines = [_row(_COLUMNS.values()), _row("---" for _ in _COLUMNS)]
    for verdict in verdicts:
        values = asdict(verdict)
        lines.append(_row(f"{values[name]}" for name in _COLUMNS))
    return "\n".join(lines)


def report(checker: Checker, verdicts: list[Verdict]) -> str:
    """All there is to say about a run."""
    plan = checker.plan
    return f"""\
# Nothing lost

{plan.anycable} clients of `@anycable/core` and {plan.consumers} `Consumer`s on \
{plan.workers} workers with Redis, {plan.rate:g} messages/s over {plan.streams} \
streams for {plan.seconds:g} s (seed {checker.seed}, {sum(checker.sent.values())} \
messages sent). Each TCP connection is cut after {plan.cut_s:g} s on average. \
Two times {plan.away} more clients are away for longer than their stream's history \
reaches; each must be told so once, and get nothing of it.

{table(verdicts)}

## What was done to it

{_list(f"{at:5.1f} s: {what}" for at, what in checker.blows)}

## What an operator saw in /metrics

{_figures(checker)}
"""


def _figures(checker: Checker) -> str:
    names = list(checker.figures[-1][1])
    lines = [_row(["at", *names]), _row("---" for _ in ["at", *names])]
    for at, figures in checker.figures:
        values = (f"{figures.get(name, 0):g}" for name in names)
        lines.append(_row([f"{at:.0f} s", *values]))
    return "\n".join(lines)


def _list(lines: object) -> str:
    return "\n".join(f"* {line}" for line in lines)  # type: ignore[attr-defined]


def _row(values: object) -> str:
    return f"| {' | '.join(values)} |"  # type: ignore[call-overload]
