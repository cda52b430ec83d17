"""The report's figures, drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.raised import STEP_PERCENTILES
from loadtest.target import LEAST_SOCKETS
from loadtest.usl import Fit

__all__ = ["NAMES", "knee", "png", "run", "svg"]

NAMES = (
    *("knee", "against-sockets", "sockets", "connects", "messages", "mishaps"),
    *("latency-deliver", "latency-rtt", "latency-back", "latency-connect"),
    *("latency-subscribe", "latency-lag", "closes"),
    *("server-cpu", "server-memory", "generator"),
)
"""All figures there can be."""

_SIZE = (7.5, 3.2)
_MISHAPS = ("duplicated", "reordered", "dropped", "failed", "late", "opened_late")

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]
Series = Sequence[Mapping[str, Any]]


def run(result: Mapping[str, Any]) -> dict[str, Figure]:
    """All figures of one run, by name."""
    series, start = result["series"], result["phases"]["start"]
    seconds = [row["second"] - int(start) for row in series]
    figures = {
        "sockets": _lines(
            "Sockets over time",
            "sockets",
            {"open": (seconds, [row["sockets"] for row in series])},
        ),
        "connects": _counts("Connect rate", series, seconds, ("opened", "failed")),
        "messages": _counts(
            "Messages in and out", series, seconds, ("sent", "received")
        ),
        "mishaps": _counts("Mishaps", series, seconds, _MISHAPS),
    }
    if "hold" in result["phases"] and result["ramp"]:
        figures["against-sockets"] = _against_sockets(series, result["latency"])
    for name in ("deliver", "rtt", "back", "connect", "subscribe", "lag"):
        if name in result["latencies"]:
            figures[f"latency-{name}"] = _latency(series, seconds, name)
    closes = _closes(result["counts"])
    if closes:
        figures["closes"] = _bars("Close codes", closes)
    figures.update(_server(result["target"], result["phases"]))
    usage = {
        name: ([one["at"] - start for one in rows], [one["cpu"] for one in rows])
        for name, rows in result["processes"].items()
    }
    title, unit = "CPU of the generator's processes", "% of a core"
    figures["generator"] = _lines(title, unit, usage)
    return figures


def knee(found: Mapping[str, Any], bound: float | None) -> Figure:
    """Latency and throughput against the load, with the knee marked.

    ``found`` is the result's ``knee``; ``bound`` is what the latency may be, in ms, if
    anybody has asked.
    """
    figure = Figure(figsize=(_SIZE[0], 2 * _SIZE[1]))
    latency, throughput = figure.subplots(2, 1, gridspec_kw=_margins(2))
    steps, unit = found["steps"], found["unit"]
    loads = [step["load"] for step in steps]
    for name in STEP_PERCENTILES:
        known = [step for step in steps if step[name] is not None]
        xs, ys = [s["load"] for s in known], [s[name] for s in known]
        latency.plot(xs, ys, "o-", label=name)
    if bound is not None:
        latency.axhline(bound, color="crimson", ls="--", label=f"SLO {bound:g} ms")
    latency.set_yscale("log")
    known_as = "met up to" if found["load"] == max(loads) else "knee"
    _mark(latency, found["load"], known_as, "-")
    _label(latency, f"Latency against {unit}", unit, "ms")
    measured = [step["throughput"] for step in steps]
    throughput.plot(loads, measured, "o", label="measured")
    _mark(throughput, found["load"], known_as, "-")
    if found["law"] is not None:
        law = Fit(**{name: found["law"][name] for name in Fit._fields})
        top = max(loads) * 1.2
        points = [top * number / 100 for number in range(1, 101)]
        throughput.plot(points, [law.at(load) for load in points], label="USL")
        if law.peak is not None and law.peak <= top:
            _mark(throughput, law.peak, "predicted peak", ":")
    _label(throughput, f"Deliveries against {unit}", unit, "per second")
    return figure


def svg(figure: Figure) -> str:
    """The figure as SVG to put into a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg")
    text = file.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _margins(rows: int = 1) -> dict[str, float]:
    """Where axes are: matplotlib's own layouts take longer than all the drawing."""
    bottom, top = 0.15 / rows, 1 - 0.1 / rows
    return {"left": 0.1, "right": 0.98, "bottom": bottom, "top": top, "hspace": 0.4}


def _lines(title: str, unit: str, lines: Lines, *, log: bool = False) -> Figure:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots(gridspec_kw=_margins())
    for name, (xs, ys) in lines.items():
        axes.plot(xs, ys, marker="." if len(xs) < 60 else "", label=name)
    if log:
        axes.set_yscale("log")
    _label(axes, title, "seconds", unit)
    return figure


def _counts(
    title: str, series: Series, seconds: Sequence[float], names: Sequence[str]
) -> Figure:
    lines = {
        name.replace("_", " "): (
            seconds,
            [row["counts"].get(name, 0) for row in series],
        )
        for name in names
    }
    return _lines(title, "per second", lines)


def _latency(series: Series, seconds: Sequence[float], name: str) -> Figure:
    rows = [
        (second, row["latencies"][name])
        for second, row in zip(seconds, series, strict=True)
        if name in row["latencies"]
    ]
    at = [second for second, _ in rows]
    lines = {
        figure: (at, [percentiles[figure] for _, percentiles in rows])
        for figure in ("p50", "p95", "p99", "max")
    }
    title = "The generator's own lag" if name == "lag" else f"Latency over time: {name}"
    return _lines(title, "ms", lines, log=True)


def _against_sockets(series: Series, name: str) -> Figure:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots(gridspec_kw=_margins())
    rows = [row for row in series if name in row["latencies"]]
    sockets = [row["sockets"] for row in rows]
    for percentile in ("p50", "p95", "p99"):
        ys = [row["latencies"][name][percentile] for row in rows]
        axes.plot(sockets, ys, ".", label=percentile)
    axes.set_yscale("log")
    _label(axes, f"Latency against sockets: {name}", "sockets", "ms")
    return figure


def _bars(title: str, values: Mapping[str, int]) -> Figure:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots(gridspec_kw=_margins())
    axes.bar(list(values), list(values.values()))
    axes.set_title(title)
    return figure


def _mark(axes: Axes, load: float | None, label: str, style: str) -> None:
    if load is not None:
        axes.axvline(load, color="crimson", ls=style, label=f"{label}: {load:,.0f}")


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _closes(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        name.removeprefix("closed:"): number
        for name, number in counts.items()
        if name.startswith("closed:")
    }


def _server(
    target: Sequence[Mapping[str, float]], phases: Mapping[str, float]
) -> dict[str, Figure]:
    """CPU and memory per 1,000 sockets over time, less what it had before them."""
    start = phases["start"]
    before = [one for one in target if one["at"] <= start]
    base = before[-1]["rss"] if before else 0.0
    cpu: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    for earlier, now in zip(target, target[1:], strict=False):
        thousands, period = now["sockets"] / 1000, now["at"] - earlier["at"]
        if now["sockets"] >= LEAST_SOCKETS and period > 0:
            busy = (now["cpu_seconds"] - earlier["cpu_seconds"]) / period * 100
            cpu.append((now["at"] - start, busy / thousands))
            memory.append((now["at"] - start, (now["rss"] - base) / 2**20 / thousands))
    if not cpu:
        return {}
    return {
        "server-cpu": _per_thousand("CPU", "% of a core", cpu),
        "server-memory": _per_thousand("memory", "MiB more than before", memory),
    }


def _per_thousand(name: str, unit: str, points: list[tuple[float, float]]) -> Figure:
    xs, ys = zip(*points, strict=True)
    return _lines(f"The server's {name} per 1,000 sockets", unit, {"server": (xs, ys)})
