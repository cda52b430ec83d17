"""`make conformance`, with a stand-in for the suite; and our client of the suite."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gevent.socket import create_connection

from gateway.websocket import Limits, WebSocket, WebSocketServer
from tests.conformance.autobahn_client import run
from tests.support import eventually
from tests.support.live import ROOT

SCRIPT = ROOT / "tools" / "conformance"


WSTEST = 'exec python -m tests.conformance.stand_in "$@"'
ENGINE = f"""
[ "$1" = info ] && exit 0
while [ "$1" != wstest ]; do shift; done; shift
{WSTEST}
"""


def path(folder: Path, **programs: str) -> str:
    """PATH, with these shell programs in front."""
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def conformance(
    reports: Path, search: str, *cases: str
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": search, "REPORTS": str(reports)}
    return subprocess.run(
        [shutil.which("sh") or "sh", SCRIPT, *cases],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def ended(url: str) -> bool:
    try:
        create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it is just ending
        return False
    return False


@pytest.mark.process
@pytest.mark.parametrize(
    "programs",
    [
        {"wstest": WSTEST},
        {"docker": ENGINE},
        {"docker": "exit 1", "podman": ENGINE},
    ],
    ids=["wstest", "docker", "podman"],
)
def test_both_sides_are_run_and_nothing_stays_behind(
    programs: dict[str, str], tmp_path: Path
) -> None:
    reports = tmp_path / "all reports"
    done = conformance(reports, path(tmp_path, **programs), "1.1.1")
    assert done.returncode == 0, done.stderr
    for side in ("server", "client"):
        assert f"{reports}/{side}/index.json: 1 cases, 0 wrong" in done.stdout
    ours = json.loads((reports / "server.json").read_text())["servers"][0]["url"]
    theirs = json.loads((reports / "client.json").read_text())["url"]
    eventually(lambda: ended(ours) and ended(theirs))


@pytest.mark.process
def test_a_failed_case_fails_the_run(tmp_path: Path) -> None:
    done = conformance(
        tmp_path / "reports", path(tmp_path, wstest=WSTEST), "1.1.1", "1.1.2"
    )
    assert done.returncode == 1
    assert done.stdout.count("2 cases, 1 wrong") == 2
    assert done.stdout.count("1.1.2: FAILED, closing OK WRONG") == 2


@pytest.mark.process
def test_a_suite_that_fails_is_shown(tmp_path: Path) -> None:
    done = conformance(tmp_path / "reports", path(tmp_path, wstest=WSTEST), "99.*")
    assert done.returncode == 1
    assert "no such cases: ['99.*']" in done.stderr
    assert "the suite failed" in done.stderr


@pytest.mark.process
def test_without_the_suite_one_sentence_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    done = conformance(tmp_path / "reports", str(tmp_path))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "docker or podman" in done.stderr
    assert not (tmp_path / "reports").exists()


def test_the_client_echoes_in_every_case_whatever_happened_before() -> None:
    large = bytes(2**24)
    seen: list[object] = []

    def suite(ws: WebSocket) -> None:
        seen.append(f"{ws.path}?{ws.request.query}")
        if ws.path == "/getCaseCount":
            ws.send("3")
        elif ws.request.query.startswith("case=1&"):
            ws.abort()
        elif ws.request.query.startswith("case=2&"):
            ws.send("not for long")
            ws.close(1002)
        elif ws.path == "/runCase":
            ws.send(large)
            seen.append(ws.receive() == large)

    roomy = Limits(max_message_bytes=2**24, max_outgoing_bytes=2**25)
    with WebSocketServer(("127.0.0.1", 0), suite, limits=roomy) as server:
        assert run(server.url) == 3
    assert seen[-5:] == [
        "/runCase?case=1&agent=gateway",
        "/runCase?case=2&agent=gateway",
        "/runCase?case=3&agent=gateway",
        True,
        "/updateReports?agent=gateway",
    ]
