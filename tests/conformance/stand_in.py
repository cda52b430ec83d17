"""Stands in for the Autobahn testsuite's program: same options, paths and reports.

It has two cases, which ask for an echo. In 1.1.1 that is right; in 1.1.2 it is not.
`make conformance` uses the real suite; this one is there to test its script.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.websocket import WebSocket, WebSocketServer, connect

RIGHT = {"1.1.1": "hello", "1.1.2": "nothing that an echo would say"}

Verdicts = dict[str, dict[str, str]]


def judge(ws: WebSocket, case: str, verdicts: Verdicts) -> None:
    ws.send("hello")
    echoed = ws.receive(timeout=10)
    ws.close()
    verdicts[case] = {
        "behavior": "OK" if echoed == RIGHT[case] else "FAILED",
        "behaviorClose": "OK" if ws.close_code == 1000 else "UNCLEAN",
    }


def write_report(spec: dict[str, Any], verdicts: Verdicts) -> None:
    folder = Path(spec["outdir"])
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"gateway": verdicts}))


def run_client(spec: dict[str, Any]) -> None:
    verdicts: Verdicts = {}
    (server,) = spec["servers"]
    assert server["agent"] == "gateway"
    for case in spec["cases"]:
        judge(connect(server["url"]), case, verdicts)
    write_report(spec, verdicts)


def run_server(spec: dict[str, Any]) -> None:
    verdicts: Verdicts = {}
    cases = {f"case={n}&agent=gateway": each for n, each in enumerate(spec["cases"], 1)}

    def handle(ws: WebSocket) -> None:
        if ws.path == "/getCaseCount":
            ws.send(str(len(cases)))
        elif ws.path == "/runCase":
            judge(ws, cases[ws.request.query], verdicts)
        elif ws.path == "/updateReports":
            write_report(spec, verdicts)

    WebSocketServer(("", urlsplit(spec["url"]).port), handle).serve_forever()


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--mode", choices=["fuzzingclient", "fuzzingserver"])
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--webport", choices=["0"])
    options = parser.parse_args()
    spec = json.loads(options.spec.read_text())
    if not RIGHT.keys() >= set(spec["cases"]):
        sys.exit(f"no such cases: {spec['cases']}")
    (run_client if options.mode == "fuzzingclient" else run_server)(spec)


if __name__ == "__main__":
    main()
