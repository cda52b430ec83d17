"""What needs Redis is tested in processes that gevent has patched: a file in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.live import ROOT

FOLDERS = [Path(__file__).parent / room / "patched" for room in ("pubsub", "scenarios")]
FILES = [file for folder in FOLDERS for file in sorted(folder.glob("test_*.py"))]


@pytest.mark.process
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_in_a_patched_process(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    with report.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "tests.support.patched", str(file)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: child.poll() is not None, 110)
    finally:
        child.kill()
    assert child.wait() == 0, report.read_text()


def test_there_are_some() -> None:
    assert {file.parent for file in FILES} == {*FOLDERS}
