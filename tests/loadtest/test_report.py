"""The report is one page that a browser can show without anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from loadtest import plots, report
from loadtest.plan import Plan
from loadtest.raised import raise_load
from loadtest.usl import Fit
from tests.loadtest.conftest import Lab
from tests.support.live import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.process]

Visitor = Callable[[], BrowserContext]


def shown(visitor: Visitor, page: Path) -> Page:
    """The page in a browser, which must not ask for anything else."""
    context = visitor()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    opened = context.new_page()
    opened.goto(page.as_uri())
    assert asked == [page.as_uri()]
    return opened


def test_the_report_in_a_browser(
    lab: Lab, live: LiveServer, visitor: Visitor, tmp_path: Path
) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    options = {"sockets": 120, "duration": 3, "slo": "p99.9<1us,lost=0"}
    run = lab("fanout", url, **options)
    assert run.wait() == (4 if run.report["invalid"] else 1)
    page = shown(visitor, run.out / "report.html")
    expect(page.locator("h1")).to_have_text("fanout: 120 sockets")
    expect(page.locator("#slo .missed")).to_have_count(1)
    expect(page.locator("#slo .met")).to_have_count(1)
    for row in ("asked120", "let in120100 % of asked", "failed00 % of asked"):
        expect(page.locator("#ledger")).to_contain_text(row)
    for row in ("server: CPU per 1,000", "server: memory per 1,000", "generator"):
        expect(page.locator("#costs")).to_contain_text(row)
    expect(page.locator("#run")).to_contain_text("bytes of a message200")
    expect(page.locator("#machine")).to_contain_text("cores allowed")
    expect(page.locator("#machine")).to_contain_text("yes: they share its cores")
    figures = ("sockets", "connects", "messages", "latency-deliver", "latency-lag")
    for figure in (*figures, "server-cpu", "server-memory"):
        expect(page.locator(f"figure#{figure} svg")).to_be_visible()
        assert (run.out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    expect(page.locator("pre")).to_contain_text("gateway loadtest fanout --url")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    _the_knee_in_a_browser(visitor, run.report, tmp_path / "knee")


def _the_knee_in_a_browser(
    visitor: Visitor, result: dict[str, object], folder: Path
) -> None:
    """What a raised load adds, with that run's figures for each load."""
    law = Fit(10.0, 0.0005, 1e-6, 0, 0, 1)

    def run(plan: Plan) -> dict[str, object]:
        met = [{**row, "met": plan.sockets < 70} for row in result["slo"]]  # type: ignore[attr-defined]
        return {
            **json.loads(json.dumps(result)),
            **{"sockets": plan.sockets, "throughput": law.at(plan.sockets)},
            **{"slo": met, "invalid": [], "stopped": False},
        }

    plan = Plan(
        **{"scenario": "fanout", "url": "ws://127.0.0.1:1", "processes": 1},  # type: ignore[arg-type]
        **{"sockets": 100, "duration": 1.0, "arrival_rate": 1.0},  # type: ignore[arg-type]
    )
    summary = raise_load(run, plan, "knee", "sockets", lambda sentence: None)
    report.clear(folder)
    figures = {"knee": plots.knee(summary["knee"], 250.0), **plots.run(summary)}
    page = shown(visitor, report.write(summary, folder, figures))
    expect(page.locator("h1")).to_have_text("fanout: up to 100 sockets")
    expect(page.locator("#knee-sentence")).to_contain_text("were met up to 69 sockets")
    expect(page.locator("figure#knee svg")).to_be_visible()
    expect(page.locator("#steps .met")).not_to_have_count(0)
    expect(page.locator("#steps .missed")).not_to_have_count(0)
    expect(page.locator("#which")).to_contain_text("the run with 69 sockets")
    assert (folder / "knee.png").read_bytes().startswith(b"\x89PNG")
