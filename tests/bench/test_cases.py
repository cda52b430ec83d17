"""What the benches find is told whole: medians, spread, and why a case failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import psutil
import pytest

from bench.__main__ import CASES, QUICK, measure
from bench.case import Result, main, table
from bench.processes import gateway
from tests.support import eventually


def test_each_case_runs_once_and_is_there() -> None:
    assert len(set(CASES)) == len(CASES)
    assert set(QUICK) <= set(CASES)
    assert all(find_spec(f"bench.{case}") for case in CASES)


def test_several_turns_give_their_median_and_spread() -> None:
    result = Result.of("fanout", "ours / floor", [1.5, 1.0, 1.25], "×", at_most=1.25)
    assert result.value == 1.25
    assert result.is_met
    assert result.note == "1 to 1.5 in 3 turns"
    assert Result.of("turn", "sends", [1.0], "").note == ""


def test_figures_read_as_people_write_them() -> None:
    rate = Result.of("echo", "75 B", [69_999.6, 0.12345], "a CPU second", at_least=1.5)
    assert str(rate) == "75 B: 35,000 a CPU second (bar ≥ 1.5)"
    assert rate.note == "0.123 to 70,000 in 2 turns"


def test_a_case_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(quick: bool) -> Iterator[Result]:
        yield Result("idle", "sockets", 3, "")
        raise ValueError("3 sockets got | too few\nheartbeats")

    monkeypatch.setattr(sys, "argv", ["bench/idle.py", "--json"])
    with pytest.raises(ValueError, match="too few"):
        main(run)
    told = [Result.from_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [each.is_failure for each in told] == [False, True]
    assert table(told).splitlines()[-1] == (
        "| idle | the case failed | **failed** |  |  "
        "| ValueError: 3 sockets got \\| too few heartbeats |"
    )


def test_a_figure_can_be_read_by_other_programs() -> None:
    result = Result("scale", "growth", 1.1, "×", at_most=1.3, note="1 to 2 in 3 turns")
    assert json.loads(result.json())["bar"] == "≤ 1.3"
    assert Result.from_json(result.json()) == result


@pytest.mark.process
def test_a_case_that_ends_without_a_word_has_failed() -> None:
    (only,) = measure("no_such_case", quick=True)
    assert only.is_failure
    assert "ended with 1" in only.note


@pytest.mark.process
def test_a_server_leaves_no_process_behind() -> None:
    with gateway() as server:
        master = psutil.Process(server.process.pid)
        worker = psutil.Process(server.pid)
        assert worker in master.children()
    eventually(lambda: not worker.is_running())
    assert not master.is_running()
