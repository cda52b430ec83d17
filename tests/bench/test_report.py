"""A run's report says what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path

from bench import report
from bench.case import Result

RESULTS = [
    Result("fanout", "ours, 1,000 sockets, 4 in flight", 1.5, "CPU µs a message"),
    Result(
        "fanout", "ours / floor, 1,000 sockets, 1 in flight", 1.3, "×", at_most=1.25
    ),
    Result.failure("idle", "Incomplete: 3 sockets got too few of the cable's pings"),
]


def test_the_bars_come_first_then_all_figures(tmp_path: Path) -> None:
    file = report.write(RESULTS, quick=True, folder=tmp_path)
    assert file.name.endswith("-quick.md")
    text = file.read_text()
    bars, figures = text.split("## Bars")[1].split("## All figures")
    assert "**missed**" in bars
    assert "Incomplete: 3 sockets" in bars
    assert "4 in flight" not in bars
    assert "4 in flight" in figures
    chart = file.with_suffix(".png")
    assert f"({chart.name})" in text
    assert chart.read_bytes().startswith(b"\x89PNG")
