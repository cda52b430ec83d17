"""What is made of the suite's reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.summary import main, read, table

RECORDED = Path(__file__).parent / "recorded_report.json"
"""Written by wstest 25.10.1: 13 cases of an echo server without deflate, which checked
text when its frame was whole."""


@pytest.fixture
def fine() -> dict[str, Any]:
    """The recorded report without the one case in it that is wrong."""
    report: dict[str, Any] = json.loads(RECORDED.read_text())
    del report["gateway"]["12.1.1"]
    return report


def written(report: Any, file: Path) -> str:
    file.write_text(json.dumps(report))
    return str(file)


def test_the_table_of_a_recorded_report() -> None:
    lines = table(read(RECORDED)).splitlines()
    assert lines[0].startswith("| Section | Cases | OK | NON-STRICT | INFORMATIONAL |")
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2:] == [
        "| 6 UTF-8 | 4 | 2 | 2 | 0 | 0 | 0 | 4 | 0 | 0 | 0 | 0 | 0 |",
        "| 7 Closing | 8 | 5 | 0 | 3 | 0 | 0 | 5 | 3 | 0 | 0 | 0 | 0 |",
        "| 12 Deflate: payloads | 1 | 0 | 0 | 0 | 0 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |",
        "| all | 13 | 7 | 2 | 3 | 0 | 1 | 10 | 3 | 0 | 0 | 0 | 0 |",
    ]


def test_a_case_left_out_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(str(RECORDED)) == 1
    printed = capsys.readouterr().out
    assert "13 cases, 1 wrong" in printed
    assert "12.1.1: UNIMPLEMENTED, closing OK WRONG" in printed
    assert "6.4.3: NON-STRICT, closing OK\n" in printed
    assert "6.4.1" not in printed


def test_lax_and_informational_cases_are_not_wrong(
    fine: dict[str, Any], tmp_path: Path
) -> None:
    assert main(written(fine, tmp_path / "index.json")) == 0


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        ("behavior", "FAILED"),
        ("behaviorClose", "FAILED"),
        ("behaviorClose", "UNCLEAN"),
        ("behaviorClose", "WRONG CODE"),
        ("behaviorClose", "FAILED BY CLIENT"),
        ("behavior", "A verdict nobody knows"),
    ],
)
def test_one_wrong_case_is_one_too_many(
    fine: dict[str, Any],
    key: str,
    verdict: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine["gateway"]["7.1.5"][key] = verdict
    assert main(written(fine, tmp_path / "index.json")) == 1
    assert f"{verdict}" in capsys.readouterr().out.split("7.1.5: ")[1].splitlines()[0]


def test_both_reports_must_hold_the_same_cases(
    fine: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = written(fine, tmp_path / "server.json")
    assert main(server, server) == 0
    del fine["gateway"]["7.1.5"]
    assert main(server, written(fine, tmp_path / "client.json")) == 1
    assert "different cases" in capsys.readouterr().out


@pytest.mark.parametrize("nothing", [{}, {"gateway": {}}])
def test_a_run_without_cases_proves_nothing(nothing: Any, tmp_path: Path) -> None:
    assert main(written(nothing, tmp_path / "index.json")) == 1
