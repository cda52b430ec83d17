"""What the command is told: options that go together, and a folder to write to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from loadtest.plan import MOST_PER_ADDRESS, Plan
from loadtest.report import clear
from loadtest.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--slo", "fast"], "'fast' is no objective"),
        (["--slo", "back.p99<1s"], "back is not measured here"),
        (["--sockets", "0"], "--sockets"),
        (["--duration", "0"], "--duration"),
        (["--raise", "rate", "--shape", "knee"], "--raise rate needs --rate"),
        (["--web", "--shape", "steps"], "leave out --shape steps"),
        (["--out", "/proc/nowhere"], "cannot write to --out /proc/nowhere: "),
    ],
)
def test_options_that_make_no_sense(options: list[str], sentence: str) -> None:
    found = CliRunner().invoke(cli, ["loadtest", "fanout", *options])
    assert found.exit_code == 2
    assert sentence in found.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["storm", "--duration", "5"], "raise --rate or --duration"),
        (["rooms", "--dialect", "plain"], "rooms is for --dialect cable only"),
        (["resume", "--dialect", "socketio"], "resume is for --dialect cable only"),
    ],
)
def test_a_scenario_that_could_measure_nothing_is_refused(
    words: list[str], sentence: str
) -> None:
    found = CliRunner().invoke(cli, ["loadtest", *words])
    assert found.exit_code == 2
    assert sentence in found.output


def test_a_scenario_that_does_not_exist() -> None:
    found = CliRunner().invoke(cli, ["loadtest", "tsunami"])
    assert found.exit_code == 2
    assert "'tsunami' is not one of" in found.output


def test_the_help_shows_what_few_need_below() -> None:
    text = CliRunner().invoke(cli, ["loadtest", "--help"]).output
    options, _, advanced = text.partition("Advanced:")
    words = (
        "--url",
        "--sockets",
        "--duration",
        "--processes",
        "--slo",
        "--out",
        "--web",
    )
    assert all(word in options for word in words)
    assert all(word in advanced for word in ("--rate", "--shape", "--dialect"))
    assert all(f"  {name} " in advanced for name in SCENARIOS)


def test_what_an_earlier_report_has_left_is_taken_out(tmp_path: Path) -> None:
    old = ("report.html", "report.json", "knee.png", "load-7/report.html")
    ours = ("photo.png", "load-8/notes.txt")
    for name in (*old, *ours):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clear(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"photo.png", "load-8", "load-8/notes.txt"}


def test_source_addresses_are_for_loopback() -> None:
    def plan(url: str, sockets: int) -> Plan:
        rest = {"duration": 1.0, "processes": 1, "arrival_rate": 1.0}
        return Plan(scenario="idle", url=url, sockets=sockets, **rest)  # type: ignore[arg-type]

    assert plan("ws://127.0.0.1:8000", MOST_PER_ADDRESS).source_addresses == 1
    assert plan("ws://127.0.0.1:8000", MOST_PER_ADDRESS + 1).source_addresses == 2
    assert plan("ws://localhost:8000", 90_000).source_addresses == 8
    assert plan("ws://192.0.2.7:8000", 90_000).source_addresses == 1
