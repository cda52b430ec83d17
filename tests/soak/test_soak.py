"""Nobody loses a message, gets one twice or in disorder, while much is broken.

Here in its short version; ``make soak`` runs the long one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.checker import Verdict
from tests.soak.tally import Tally
from tests.support import eventually
from tests.support.live import ROOT


@pytest.mark.node
@pytest.mark.process
def test_nothing_is_lost(tmp_path: Path) -> None:
    output, report = tmp_path / "output", tmp_path / "report.md"
    with output.open("w") as file:
        run = subprocess.Popen(
            [sys.executable, "-m", "tests.soak", "--short", "--report", str(report)],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: run.poll() is not None, 110)
    finally:
        run.terminate()
    assert run.wait() == 0, output.read_text()
    assert "Redis stopped for 1 s" in report.read_text()


def test_the_tally_counts_what_is_wrong() -> None:
    tally = Tally()
    for number in (1, 2, 2, 6, 4, 4):
        tally.got(number)
    assert (tally.duplicated, tally.disordered, tally.missing) == (2, 1, {3, 5})
    tally.refuse()
    tally.got(9)
    assert (tally.refused, tally.told, tally.resumed_at) == (1, 2, 9)
    assert tally.row() == [9, 7, 2, 1, 1, 2, 9, 2]


@pytest.mark.parametrize(
    "fault", ["lost", "duplicated", "disordered", "untold", "partial", "refused"]
)
def test_a_verdict_is_clean_without_faults_only(fault: str) -> None:
    assert Verdict("Consumer", "cut").is_clean
    assert not Verdict("Consumer", "cut", **{fault: 1}).is_clean


def test_who_was_away_for_too_long_is_told() -> None:
    assert Verdict("Consumer", "away too long", refused=3).is_clean
