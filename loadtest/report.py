"""The report: one HTML file that needs no other, the same as JSON, and PNGs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from loadtest import plots
from loadtest.raised import STEP_PERCENTILES
from loadtest.samples import PERCENTILES

__all__ = ["clear", "measured", "write"]

Row = Sequence[object]

_FILES = ("report.html", "report.json", "result.json", "progress.jsonl", "locust.log")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff }
div { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
.met { color: #070 } .missed { color: #b00; font-weight: bold }
.invalid { background: #b00; color: #fff; padding: .5rem 1rem }
.note { background: #fe8; padding: .5rem 1rem }
svg { max-width: 100%; height: auto } pre { overflow: auto; background: #f4f4f4;
  padding: .5rem 1rem }
"""


def clear(folder: Path) -> None:
    """Make ``folder``, and take out what an earlier report has left in it.

    Raises:
        OSError: it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_FILES, *(f"{figure}.png" for figure in plots.NAMES)):
        (folder / name).unlink(missing_ok=True)
    for step in folder.glob("load-*/"):
        clear(step)
        if not any(step.iterdir()):
            step.rmdir()
    (folder / "report.json").touch()
    (folder / "report.json").unlink()


def write(
    result: Mapping[str, Any], folder: Path, figures: Mapping[str, Figure]
) -> Path:
    """Write ``report.html``, ``report.json`` and a PNG of each; returns the HTML.

    ``result`` is what the run gave, with ``slo``, ``invalid`` and ``command`` added,
    and ``knee`` if the load was raised.
    """
    (folder / "report.json").write_text(json.dumps(result, indent=1))
    for name, figure in figures.items():
        (folder / f"{name}.png").write_bytes(plots.png(figure))
    page = folder / "report.html"
    page.write_text(_page(result, figures))
    return page


def measured(row: Mapping[str, Any]) -> str:
    """The value in a row of the table of objectives, with its unit."""
    if row["value"] is None:
        return "nothing"
    return f"{row['value']:,g} {row['unit']}".rstrip()


def _page(result: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    knee = result.get("knee")
    title = f"{result['scenario']}: {result['sockets']:,} sockets"
    if knee is not None:
        loads = [step["load"] for step in knee["steps"]]
        title = f"{result['scenario']}: up to {max(loads):,g} {knee['unit']}"
    drawn = {
        name: f'<figure id="{escape(name)}">{plots.svg(figure)}</figure>'
        for name, figure in figures.items()
    }
    parts = (
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(result['url'])}</p>",
        *_warnings(result),
        *(() if knee is None else _knee(knee, drawn.pop("knee"), result)),
        _table("Objectives", ("", "measured", ""), _objectives(result), "slo"),
        _table("Ledger", ("", "", ""), _ledger(result["ledger"]), "ledger"),
        _latencies(result),
        _table("Costs", ("", ""), _costs(result), "costs"),
        *drawn.values(),
        _table("Errors", ("", "times"), list(result["errors"].items()), "errors"),
        _table("Run", ("", ""), list(result["run"].items()), "run"),
        _generator(result),
        _table("Machine", ("", ""), _machine(result["machine"]), "machine"),
        f"<h2>Command</h2><pre>{escape(result['command'])}</pre>",
    )
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body>'


def _warnings(result: Mapping[str, Any]) -> list[str]:
    parts = []
    if result["invalid"]:
        why = escape("; ".join(result["invalid"]))
        parts.append(f'<p class="invalid"><strong>INVALID</strong>: {why}.</p>')
    if result["error"]:
        why = escape(result["error"])
        text = f"Ended early: {why}. What was measured follows."
        parts.append(f'<p class="invalid">{text}</p>')
    parts += [f'<p class="note">Note: {escape(note)}.</p>' for note in result["notes"]]
    return parts


def _objectives(result: Mapping[str, Any]) -> list[Row]:
    return [
        (row["objective"], measured(row), "met" if row["met"] else "missed")
        for row in result["slo"]
    ]


def _ledger(ledger: Mapping[str, int]) -> list[Row]:
    """All of it, with shares where a number is a part of another."""
    of = {
        **dict.fromkeys(("let_in", "failed", "dropped"), "asked"),
        "late": "sent",
        **dict.fromkeys(("received", "lost"), "expected"),
        **dict.fromkeys(("duplicated", "reordered"), "received"),
    }
    rows: list[Row] = []
    for name, number in ledger.items():
        whole = ledger.get(of.get(name, ""), 0)
        share = f"{100 * number / whole:.3g} % of {of[name]}" if whole else ""
        rows.append((name.replace("_", " "), number, share))
    return rows


def _latencies(result: Mapping[str, Any]) -> str:
    names = ("count", "min", *(f"p{percent:g}" for percent in PERCENTILES), "max")
    rows = [
        (name, *(f"{figures[column]:,g}" for column in names))
        for name, figures in result["latencies"].items()
    ]
    return _table("Latency in milliseconds", ("", *names), rows, "latency")


def _costs(result: Mapping[str, Any]) -> list[Row]:
    """What sockets cost, in figures to multiply."""
    rows: list[Row] = []
    server, generator = result["server"], result["generator"]
    if server is not None:
        cpu = f"{server['cpu_per_1000']:g} % of a core"
        memory = f"{server['memory_bytes_per_1000'] / 2**20:,.1f} MiB"
        rows += [("server: CPU per 1,000 sockets", cpu)]
        rows += [("server: memory per 1,000 sockets", memory)]
    if generator["memory_bytes_per_socket"] is not None:
        kib = generator["memory_bytes_per_socket"] / 1024
        rows += [("generator: memory per socket", f"{kib:,.1f} KiB")]
    return [*rows, ("deliveries a second, while measuring", result["throughput"])]


def _generator(result: Mapping[str, Any]) -> str:
    """CPU while measuring, and memory."""
    phases = result["phases"]
    begin = phases.get("hold", phases["start"])
    end = phases.get("drain", phases["end"])
    rows: list[Row] = []
    for name, usage in result["processes"].items():
        held = [one for one in usage if begin < one["at"] <= end + 1] or usage
        seconds = sum(one["seconds"] for one in held)
        mean = sum(one["cpu"] * one["seconds"] for one in held) / seconds
        most = max(one["cpu"] for one in held)
        memory = max(one["rss"] for one in usage) / 2**20
        rows.append((name, f"{mean:.1f} %", f"{most:.0f} %", f"{memory:.0f} MiB"))
    columns = ("", "CPU, mean", "CPU, most", "memory, most")
    return _table("Generator, while measuring", columns, rows, "processes")


def _machine(machine: Mapping[str, Any]) -> list[Row]:
    yes = {True: "yes: they share its cores", False: "no"}
    return [
        ("is the server here, too?", yes[value])
        if name == "server_is_here"
        else (name.replace("_", " "), value)
        for name, value in machine.items()
    ]


def _knee(
    knee: Mapping[str, Any], figure: str, result: Mapping[str, Any]
) -> tuple[str, ...]:
    columns = ("load", "throughput", *STEP_PERCENTILES)
    rows = []
    for step in knee["steps"]:
        doubt = "; ".join(step["invalid"]) or step["error"] or ""
        verdict = "met" if step["slo"] else "missed"
        figures = ("–" if step[name] is None else step[name] for name in columns)
        rows.append((*figures, verdict, doubt))
    which = f"What follows is of the run with {result['sockets']:,} sockets"
    if knee["unit"] != "sockets":
        which += f" and {result['run']['messages a second']:g} {knee['unit']}"
    return (
        f'<p id="knee-sentence">{escape(knee["sentence"])}</p>',
        figure,
        _table(
            "Steps", (knee["unit"], "deliveries/s", *columns[2:], "", ""), rows, "steps"
        ),
        f'<p id="which">{which}; each step has a report of its own, too.</p>',
    )


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Row], name: str = ""
) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    identifier = f' id="{name}"' if name else ""
    table = f"<table{identifier}><tr>{head}</tr>{body}</table>"
    return f"<h2>{title}</h2><div>{table}</div>"


def _cell(value: object) -> str:
    shown = str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        shown = f"{value:,}"
    css = f' class="{value}"' if value in ("met", "missed") else ""
    return f"<td{css}>{escape(shown)}</td>"
