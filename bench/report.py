"""A run's figures, kept: ``bench/results/DATE.md``, and a chart beside it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.case import Result, number, table
from bench.processes import ROOT

__all__ = ["write"]

_RESULTS = ROOT / "bench" / "results"
_PACKAGES = (
    *("gevent", "websockets", "msgspec", "Flask", "gunicorn"),
    *("socketify", "picows", "Flask-SocketIO"),
)

# A panel of the chart: its title, the case, and which figures of it are whose.
_PANELS = (
    (
        "Fan-out: CPU µs a message (1,000 sockets, 4 in flight)",
        "fanout",
        r"^(?!ours /)(.+), 1,000.*\b4 in",
    ),
    ("Echo: CPU µs a round trip", "inbound", r"^(.+), echo$"),
    ("KB of an idle socket", "memory", r"^(ours, .+|[^,]+)$"),
    ("Clients let in by a CPU second (more is better)", "storm", r"^([^,]+),"),
)


def write(results: list[Result], *, quick: bool, folder: Path = _RESULTS) -> Path:
    """Write the report of today; one of the same day is replaced."""
    folder.mkdir(exist_ok=True)
    name = f"{date.today()}{'-quick' if quick else ''}"
    chart = _draw(results, folder / f"{name}.png")
    lines = [
        f"# {date.today()}{', a quick run' if quick else ''}",
        "",
        *(f"* {line}" for line in _machine()),
        "",
        *([f"![The figures beside each other]({chart.name})", ""] if chart else []),
        "## Bars",
        "",
        table([each for each in results if each.bar or each.is_failure]),
        "",
        "## All figures",
        "",
        table(results),
        "",
    ]
    file = folder / f"{name}.md"
    file.write_text("\n".join(lines))
    return file


def _machine() -> list[str]:
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    head = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True)
    return [
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GB; load at the end: {os.getloadavg()[0]:.1f}",
        f"Linux {platform.release()}, Python {platform.python_version()}",
        ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        f"commit {commit.stdout.strip()}",
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _draw(results: list[Result], file: Path) -> Path | None:
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 7))
    for panel, (title, case, pattern) in zip(axes.flat, _PANELS, strict=True):
        bars = {}
        for each in results:
            found = re.search(pattern, each.name)
            if each.bench == case and found and each.unit != "×":
                bars[found.group(1)] = each.value
        names = sorted(bars, key=bars.__getitem__)
        shades = ["#c0392b" if each.startswith("ours") else "#95a5a6" for each in names]
        drawn = panel.barh(names, [bars[name] for name in names], color=shades)
        panel.bar_label(drawn, labels=[number(bars[name]) for name in names], padding=3)
        panel.set_title(title, loc="left", fontweight="bold")
        panel.margins(x=0.15)
        panel.xaxis.set_visible(False)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    figure.tight_layout(pad=2)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
    return file
