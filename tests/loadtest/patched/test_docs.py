"""The scenario in the documentation runs as it is written there."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

from gateway.cli.loadtest import loadtest
from gateway.websocket import WebSocket
from loadtest.scenarios import SCENARIOS
from tests.loadtest.patched.conftest import Measure
from tests.websocket.conftest import Serve


def test_every_scenario_and_option_is_documented(here: Path) -> None:
    text = (here / "docs" / "loadtest.md").read_text()
    table = text.partition("## Scenarios")[2].partition("##")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| `")]
    named = [(row[0].strip("|` "), row[2].split(",")[0].strip("| ")) for row in rows]
    for name, rate in named:
        assert rate == ("–" if name == "idle" else f"{SCENARIOS[name].rate:g}")
    assert [name for name, _ in named] == list(SCENARIOS)
    table = text.partition("## Options")[2].partition("**Objectives**")[0]
    options = {word for param in loadtest.params for word in param.opts}
    assert set(re.findall(r"`(--[\w-]+)`[ ,].*\|", table)) <= options
    assert options - {"scenario"} <= set(re.findall(r"`(--[\w-]+)`", table))


def test_a_scenario_of_one_s_own(
    measure: Measure, serve: Serve, here: Path, tmp_path: Path
) -> None:
    text = (here / "docs" / "loadtest.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "news.py"
    file.write_text(example)
    followers: list[WebSocket] = []

    def news(ws: WebSocket) -> None:
        for text in ws:
            command = json.loads(text)
            if "follow" in command:
                followers.append(ws)
                ws.send_json({"following": command["follow"]})
            else:
                for each in followers:
                    if each.close_reason is None:
                        each.send(command["text"])

    result = measure(runpy.run_path(str(file))["Reader"], serve(news).url, 3, hold=4)
    assert result["error"] is None
    assert result["url"].endswith("/news")
    assert result["ledger"]["sent"] == 8
    assert result["ledger"]["opened"] == 6  # all have left at the fifth
    assert result["ledger"]["received"] > 3 * 5
    assert result["ledger"]["lost"] == 0
    assert result["latencies"]["subscribe"]["count"] == 6
