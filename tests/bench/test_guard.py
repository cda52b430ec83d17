"""Messages and clients cost no more than they did: counted, so never by chance.

A count that has grown for a good reason, or has shrunk, is written down anew by
``make baseline``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.bench.work import BASELINE, PYTHON

BEFORE = json.loads(BASELINE.read_text())
COUNTS: dict[str, float] = BEFORE["counts"]
MARGIN = 1.02

pytestmark = pytest.mark.skipif(
    BEFORE["python"] != PYTHON,
    reason=f"the counts are those of Python {BEFORE['python']}; "
    "for another, type `make baseline` before you change anything",
)


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """The counts of now, from a process where nothing else goes on."""
    # Coverage would follow it there, and its work be counted with ours.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.work"],
        env=environ,
        stdout=subprocess.PIPE,
        timeout=100,
        check=True,
    )
    counts: dict[str, float] = json.loads(done.stdout)["counts"]
    return counts


@pytest.mark.parametrize("what", COUNTS)
def test_no_more_than_before(measured: dict[str, float], what: str) -> None:
    assert measured[what] <= COUNTS[what] * MARGIN


def test_all_that_is_measured_is_guarded(measured: dict[str, float]) -> None:
    assert measured.keys() == COUNTS.keys()


@pytest.mark.parametrize(
    "what", ["sends per delivered message", "sends per turn, 20 streams of a client"]
)
def test_a_client_is_written_to_once_a_turn(
    measured: dict[str, float], what: str
) -> None:
    assert measured[what] == 1
