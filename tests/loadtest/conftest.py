"""Runs of ``gateway loadtest`` as a process, as everybody runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import gateway
from tests.support import eventually
from tests.support.program import Program
from tests.websocket.conftest import serve

__all__ = ["Lab", "Run", "gateway", "progress", "serve"]


class Run:
    """One run, under way or over."""

    def __init__(self, program: Program, out: Path) -> None:
        self.program, self.out = program, out

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        eventually(lambda: self.program.process.poll() is not None, timeout=100)
        return int(self.program.process.returncode)

    @property
    def report(self) -> dict[str, Any]:
        """What it has written for machines."""
        report: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return report

    @property
    def progress(self) -> dict[str, Any]:
        """The last line of progress."""
        return progress(self.out)


def progress(folder: Path) -> dict[str, Any]:
    """The last line of progress of a run that writes to ``folder``."""
    file = folder / "progress.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(json.loads(lines[-1])) if lines else {"phase": ""}


Lab = Callable[..., Run]


@pytest.fixture
def lab(gateway: Callable[..., Program], tmp_path: Path) -> Lab:
    """Start ``gateway loadtest SCENARIO --url URL …``."""

    def start(scenario: str, url: str, *flags: str, **options: object) -> Run:
        words = [
            f"--{name.replace('_', '-')}={value}" for name, value in options.items()
        ]
        out = tmp_path / scenario
        arguments = ("loadtest", scenario, "--url", url, "--out", str(out))
        return Run(gateway(*arguments, *flags, *words), out)

    return start
