"""What ``gateway loadtest`` does: run, judge, write up, and show progress."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from loadtest import plots, report
from loadtest.plan import NotMeasured, Plan, free_port
from loadtest.raised import raise_load
from loadtest.scenarios import SCENARIOS
from loadtest.shapes import lowest
from loadtest.slo import Objective
from loadtest.verdict import invalid, judge

__all__ = ["Session", "measure"]

MET, MISSED, NOT_MEASURED, INVALID = 0, 1, 3, 4


def measure(
    objectives: Sequence[Objective],
    out: Path,
    command: str,
    *,
    shape: str,
    raised: str,
    web: bool,
    **options: Any,
) -> int:
    """Measure as the command line says; returns the exit code.

    Raises:
        ValueError: the options do not go together, or ``out`` cannot be written to;
            says why.
    """
    plan = Plan(**options, ramp=shape == "ramp", web_port=free_port() if web else None)
    raising = shape in ("steps", "knee")
    if raising and web:
        raise ValueError(f"--web starts one run at a time: leave out --shape {shape}")
    if raising and raised == "rate" and plan.rate is None:
        raise ValueError("--raise rate needs --rate: how far to raise it")
    scenario = SCENARIOS[plan.scenario]
    rate = scenario.rate if plan.rate is None else plan.rate
    least = lowest(shape, rate) if raising and raised == "rate" else rate
    why = scenario.refusal(least, plan.duration, plan.dialect)
    if why is not None:
        raise ValueError(why)
    try:
        report.clear(out)
    except OSError as exc:
        raise ValueError(f"cannot write to --out {out}: {exc.strerror}") from None
    if plan.ramp:
        plan = replace(plan, arrival_rate=plan.sockets / plan.duration)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    session = Session(objectives, out, command)
    if raising:
        return session.raise_load(plan, shape, raised)
    try:
        return session.finish(session.run(plan, out))
    except NotMeasured as exc:
        session.complain(str(exc))
        return NOT_MEASURED


class Session:
    """Runs plans, judges them by ``objectives``, and writes to ``out`` and terminal."""

    def __init__(
        self, objectives: Sequence[Objective], out: Path, command: str
    ) -> None:
        self.objectives, self.out = objectives, out
        self._command = command
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._console = Console(highlight=False, soft_wrap=True)

    def run(self, plan: Plan, folder: Path) -> dict[str, Any]:
        """One run, with a bar that moves; judged.

        Raises:
            NotMeasured: there is no result.
        """
        if plan.web_port is not None:
            self.say(
                f"Locust's page: http://127.0.0.1:{plan.web_port} (Ctrl-C ends it)"
            )
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._errors, transient=True) as bars:
            bar = bars.add_task(f"{plan.scenario} begins", total=None)
            result = plan.run(folder, lambda now: _show(bars, bar, plan, now))
        result["command"] = self._command
        result["slo"] = judge(result, self.objectives)
        result["invalid"] = invalid(result, self.objectives)
        return result

    def raise_load(self, plan: Plan, shape: str, raised: str) -> int:
        """Several runs; returns the exit code."""

        def step(plan: Plan) -> dict[str, Any]:
            load = plan.sockets if raised == "sockets" else plan.rate
            folder = self.out / f"load-{load:g}"
            report.clear(folder)
            result = self.run(plan, folder)
            report.write(result, folder, plots.run(result))
            return result

        try:
            summary = raise_load(step, plan, shape, raised, self.say)
        except NotMeasured as exc:
            self.complain(str(exc))
            return NOT_MEASURED
        bounds = [one.bound for one in self.objectives if one.metric]
        figure = plots.knee(summary["knee"], bounds[0] if bounds else None)
        self.say(summary["knee"]["sentence"])
        self._write(summary, {"knee": figure})
        if summary["error"]:
            self.complain(summary["error"])
            return NOT_MEASURED
        if summary["invalid"]:
            return self._say_invalid(summary)
        return MISSED if summary["knee"]["load"] is None else MET

    def finish(self, result: Mapping[str, Any]) -> int:
        """Write the report of one run, print the verdict; returns the exit code."""
        self._write(result, {})
        if result["error"]:
            self.complain(result["error"])
            return NOT_MEASURED
        if result["invalid"]:
            return self._say_invalid(result)
        return MET if all(row["met"] for row in result["slo"]) else MISSED

    def say(self, sentence: str) -> None:
        """Tell something."""
        self._console.print(sentence, markup=False)

    def complain(self, sentence: str) -> None:
        """Say why there is no, or not all of a, result."""
        self._errors.print(f"Error: {sentence}", markup=False)

    def _write(self, result: Mapping[str, Any], figures: Mapping[str, Figure]) -> None:
        page = report.write(result, self.out, {**figures, **plots.run(result)})
        for row in result["slo"]:
            verdict = "met" if row["met"] else "missed"
            self.say(f"{row['objective']}: {report.measured(row)}, {verdict}")
        ledger = result["ledger"]
        names = ("sent", "expected", "received", "lost")
        self.say("Ledger: " + ", ".join(f"{ledger[name]:,} {name}" for name in names))
        for note in result["notes"]:
            self.say(f"Note: {note}")
        self.say(f"Report: {page}")

    def _say_invalid(self, result: Mapping[str, Any]) -> int:
        reasons = "; ".join(result["invalid"])
        self._errors.print(f"INVALID: {reasons}", markup=False)
        return INVALID


def _show(bars: Progress, bar: TaskID, plan: Plan, now: Mapping[str, Any]) -> None:
    """Move the bar: with the sockets while they arrive, then with the time."""
    came = now.get("let_in", 0)
    text = (
        f"{plan.scenario} {_PHASES[now['phase']]}: {came:,} sockets, "
        f"{now.get('sent', 0):,} sent, {now.get('received', 0):,} received, "
        f"{now['errors']:,} errors"
    )
    done, total = {
        "start": (came, plan.sockets),
        "hold": (now["in_phase_s"], plan.duration),
    }.get(now["phase"], (0, None))
    bars.update(bar, description=text, completed=done, total=total)


_PHASES = {
    "start": "opens",
    "hold": "measures",
    "drain": "waits for the rest",
    "end": "ends",
}
