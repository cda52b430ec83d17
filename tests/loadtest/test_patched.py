"""The lab's own tests need gevent's patches: each file runs in a process that has them.

All of these processes run at once, as they mostly wait.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.live import ROOT

FOLDER = Path(__file__).parent / "patched"
FILES = sorted(FOLDER.glob("test_*.py"))

Children = dict[Path, tuple[subprocess.Popen[bytes], Path]]


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """A process for each file, and where it writes its report."""
    started: Children = {}
    for file in FILES:
        report = tmp_path_factory.mktemp("patched") / "report"
        with report.open("w") as output:
            child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", "-p", "tests.support.patched"),
                    str(file),
                ],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started[file] = child, report
    yield started
    for child, _ in started.values():
        child.kill()
        child.wait()


@pytest.mark.process
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_in_a_patched_process(file: Path, children: Children) -> None:
    child, report = children[file]
    eventually(lambda: child.poll() is not None, 110)
    assert child.returncode == 0, report.read_text()
