"""Has a run go with every start of Locust's, and writes down what it found.

That is ``result.json`` in ``--out``, a line of ``progress.jsonl`` every second, the
ledger on the terminal, Locust's own statistics, and its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import gevent
import locust.runners
from gevent.event import Event

from loadtest.crew import Crew, Here, Workers
from loadtest.locust_statistics import LocustStatistics
from loadtest.machine import Usage
from loadtest.phases import Run
from loadtest.result import build
from loadtest.target import Target
from loadtest.verdict import invalid

if TYPE_CHECKING:
    from loadtest.lab import Lab

__all__ = ["Master"]

_MISHAPS = ("lost", "duplicated", "reordered", "stray", "failed", "dropped")
_FAULTY, _NOT_MEASURED, _INVALID = 1, 3, 4


class Master:
    """Conducts the runs of ``lab`` from the process in which Locust decides.

    That is the only process when Locust is not distributed: then it holds the sockets.
    """

    def __init__(self, lab: Lab, environment: Any, runner: Any) -> None:
        self.result: dict[str, Any] = {}
        self.finished = Event()
        self._lab, self._environment, self._runner = lab, environment, runner
        self._crew: Crew = Here(lab)
        if isinstance(runner, locust.runners.MasterRunner):
            self._crew = Workers(lab, runner, self._take)
        self._run: Run | None = None
        self._conductor: gevent.Greenlet[..., None] | None = None
        self._usage = Usage()
        self._target = Target(lab.url)
        environment.events.test_start.add_listener(self._start)
        environment.events.test_stopping.add_listener(self._stopping)
        gevent.spawn(self._attend)

    # What Locust says.

    def _start(self, environment: Any, **_: Any) -> None:
        self.finished.clear()
        self._usage = Usage()
        self._target.aim(self._lab.url)  # on Locust's page it can be changed
        rate = self._lab.options.spawn_rate or 1.0
        asked = self._runner.target_user_count
        self._run = Run(self._lab, self._crew, asked, rate)
        self._conductor = gevent.spawn(self._conduct, self._run)

    def _stopping(self, environment: Any, **_: Any) -> None:
        """Somebody stops Locust, or we do: write what there is."""
        conductor, run = self._conductor, self._run
        if run is not None and gevent.getcurrent() is not conductor:
            assert conductor is not None
            conductor.kill()
            why = self._crew.missing() or "the run was stopped before its end"
            run.end(why)
            self._finish(run)

    def _conduct(self, run: Run) -> None:
        watch = gevent.spawn(self._watch, run)
        run.conduct()
        watch.kill()
        try:
            self._finish(run)
        finally:
            if self._lab.options.headless:
                self._runner.quit()
            else:
                self._runner.stop()

    # What is seen meanwhile.

    def _attend(self) -> None:
        """Once a second, also between runs: the server's figures, and our owner.

        Before a run the server shows what it needs for itself.
        """
        owner = self._lab.options.owner
        while True:
            self._target.ask()
            gevent.sleep(1.0)  # by then Locust knows what to do when it is told to end
            if owner is not None and os.getppid() != owner:
                signal.raise_signal(signal.SIGTERM)  # nobody is left who wants to know

    def _watch(self, run: Run) -> None:
        """Every second: our own figures, and a line of progress."""
        while True:
            self._progress(run)
            gevent.sleep(1.0)
            run.record.merge(self._lab.samples.take())
            usage = self._usage.take(self._lab.sockets)
            run.record.processes.setdefault(self._crew.name, []).append(usage)

    def _progress(self, run: Run) -> None:
        if self._lab.options.out:
            now = {"phase": run.phase, "in_phase_s": time() - run.phases[run.phase]}
            line = {**now, **run.record.counts}
            line["errors"] = sum(run.record.errors.values())
            with (Path(self._lab.options.out) / "progress.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def _take(self, name: str, taken: dict[str, Any]) -> None:
        """What a worker has measured."""
        if self._run is not None:
            record = self._run.record
            record.merge(taken)
            if (usage := taken.get("usage")) is not None:
                record.processes.setdefault(name, []).append(usage)

    # The end.

    def _finish(self, run: Run) -> None:
        if self._run is not run:
            return
        run.finish()
        self._run = None
        self.result = result = build(self._lab, run, self._target)
        if self._lab.options.out:
            folder = Path(self._lab.options.out)
            (folder / "result.json").write_text(json.dumps(result, indent=1))
        if lost := result["ledger"]["lost"]:
            statistics = LocustStatistics(self._environment.stats)
            statistics.failure(self._lab.scenario.latencies[0], "lost", "lost", lost)
        self._environment.process_exit_code = self._say(result)
        self.finished.set()

    def _say(self, result: dict[str, Any]) -> int | None:
        """Print what was found; returns the exit code."""
        ledger = result["ledger"]
        print("Ledger: " + ", ".join(f"{ledger[name]:,} {name}" for name in ledger))
        reasons = invalid(result, ())
        if reasons:
            print(f"INVALID: {'; '.join(reasons)}", file=sys.stderr)
        if result["error"]:
            print(f"Error: {result['error']}", file=sys.stderr)
            return _NOT_MEASURED
        if any(ledger[name] for name in _MISHAPS):
            return _FAULTY
        return _INVALID if reasons else None
