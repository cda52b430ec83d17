"""The command: its exit codes, what it says, what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil
import pytest

from loadtest.plan import free_port
from tests.loadtest.conftest import Lab, Run, progress
from tests.loadtest.faulty import Cable
from tests.support import eventually
from tests.support.live import ROOT, LiveServer
from tests.support.program import Program
from tests.websocket.conftest import Serve

pytestmark = pytest.mark.process

Runs = dict[str, Run]

CABLE = {"subprotocols": Cable.subprotocols}


@pytest.fixture(scope="module", autouse=True)
def started(
    live: LiveServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """Runs that need nobody, under way while others are tested."""
    folder = tmp_path_factory.mktemp("started")
    url = f"ws://127.0.0.1:{live.port}"
    runs: Runs = {}

    def start(name: str, scenario: str, url: str, *words: str) -> None:
        out = folder / name
        words = ("--url", url, "--out", str(out), *words)
        runs[name] = Run(Program(folder, "loadtest", scenario, *words), out)

    big = ("--sockets=500", "--duration=3", "--rate=2", "--processes=2")
    start("big", "fanout", url, *big)
    nowhere = f"ws://127.0.0.1:{free_port()}/cable"
    start("absent", "fanout", nowhere, "--duration=1")
    hasty = ("--sockets=1", "--duration=1", "--rate=1e6", "--size=1")
    start("hasty", "dashboard", url, *hasty)
    knee = ("--shape=knee", "--sockets=2", "--duration=2", "--rate=10", "--rooms=1")
    start("knee", "rooms", url, *knee)
    ramp = ("--shape=ramp", "--sockets=20", "--duration=2", "--rate=10")
    start("ramp", "slow_reader", url, *ramp)
    yield runs
    for run in runs.values():
        run.program.stop()


def family(run: Run) -> list[psutil.Process]:
    """Locust, and its workers."""
    return psutil.Process(run.program.process.pid).children(recursive=True)


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_objectives_that_are_missed(lab: Lab, serve: Serve) -> None:
    deaf = Cable(lambda text, number, reader: [text] * (number != 3 or not reader))
    run = lab("fanout", serve(deaf, **CABLE).url, sockets=5, duration=1, rate=10)
    code = run.wait()
    assert run.report["ledger"]["lost"] == 5
    assert "lost=0: 5, missed" in run.program.output
    assert "failed=0: 0, met" in run.program.output
    assert "Ledger: 10 sent, 50 expected, 45 received, 5 lost" in run.program.output
    assert code == (4 if run.report["invalid"] else 1)


def test_a_server_that_dies_in_the_middle(lab: Lab, tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        url = f"ws://127.0.0.1:{server.port}/cable"
        run = lab("fanout", url, sockets=50, duration=60, rate=10)
        eventually(lambda: run.progress.get("received", 0) > 50, timeout=60)
        for worker in server.workers:
            worker.kill()
        server.process.kill()
        assert run.wait() == 3
    assert re.search(rf"Error: {url} closed .*socket", run.program.errors)
    report = run.report
    assert report["ledger"]["received"] > 50
    assert report["ledger"]["dropped"] == report["counts"]["closed:1006"] == 50
    assert "Ended early" in (run.out / "report.html").read_text()


def test_a_worker_that_dies_in_the_middle(lab: Lab, live: LiveServer) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    run = lab("fanout", url, sockets=10, duration=60, rate=10, processes=2)
    eventually(lambda: run.progress.get("received", 0) > 50, timeout=60)
    (locust,) = psutil.Process(run.program.process.pid).children()
    locust.children()[0].kill()
    assert run.wait() == 3
    assert "Error: a worker process of the generator has died" in run.program.errors
    assert run.report["ledger"]["received"] > 0


def test_a_raise_that_is_told_to_stop_keeps_what_it_has(
    lab: Lab, live: LiveServer
) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    run = lab("fanout", url, sockets=5, duration=60, rate=10, shape="steps")
    folder = run.out / "load-1"  # the first of five
    eventually(lambda: progress(folder).get("received", 0) > 0, timeout=60)
    run.program.send_signal(signal.SIGTERM)
    assert run.wait() == 3
    assert "the run was stopped" in run.program.errors
    assert run.report["ledger"]["received"] > 0
    assert [step["load"] for step in run.report["knee"]["steps"]] == [1]
    assert "Ended early: the run was stopped" in (folder / "report.html").read_text()


def test_a_command_that_is_killed_leaves_nobody_behind(
    lab: Lab, live: LiveServer
) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    run = lab("idle", url, sockets=5, duration=60)
    eventually(lambda: run.progress.get("ready") == 5, timeout=60)
    left = family(run)
    assert len(left) >= 2  # who speaks, who holds the sockets
    run.program.process.kill()
    eventually(lambda: not any(map(lives, left)), timeout=60)


def test_a_command_that_is_killed_before_anybody_has_pressed_start(
    lab: Lab, live: LiveServer
) -> None:
    run = lab("idle", f"ws://127.0.0.1:{live.port}/cable", "--web")
    eventually(lambda: len(family(run)) >= 2, timeout=60)
    left = family(run)
    run.program.process.kill()
    eventually(lambda: not any(map(lives, left)), timeout=60)


def test_locust_s_page_starts_it_as_often_as_one_likes(
    lab: Lab, live: LiveServer
) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    run = lab("fanout", url, "--web", sockets=5, duration=1, rate=10)
    found = eventually(
        lambda: re.search(r"http://127\.0\.0\.1:\d+", run.program.output), timeout=60
    )
    page = found[0]
    for sockets in (3, 4):
        eventually(lambda: is_at_rest(page), timeout=60)
        form = {"user_count": sockets, "spawn_rate": 100, "host": url}
        with urlopen(f"{page}/swarm", urlencode(form).encode()) as answer:
            assert json.load(answer)["success"]
        finished = eventually(lambda: result(run.out), timeout=60)
        assert finished["ledger"]["received"] == sockets * 10
        (run.out / "result.json").rename(run.out / "last.json")
    (run.out / "last.json").rename(run.out / "result.json")
    run.program.send_signal(signal.SIGINT)
    assert run.wait() in (0, 4)
    assert run.report["ledger"]["opened"] == 4


def is_at_rest(page: str) -> bool:
    """Whether Locust's page is there, with a worker that has nothing to do."""
    try:
        with urlopen(f"{page}/stats/requests") as answer:
            shown = json.load(answer)
    except OSError:
        return False
    idle = [each for each in shown["workers"] if each["state"] == "ready"]
    return bool(idle) and shown["state"] in ("ready", "stopped")


def result(folder: Path) -> dict[str, dict[str, int]]:
    """What a run has found, once it is over."""
    try:
        found: dict[str, dict[str, int]] = json.loads(
            (folder / "result.json").read_text()
        )
    except (OSError, ValueError):
        return {}
    return found


def test_plain_locust_tells_the_ledger_and_fails_if_something_was_lost(
    serve: Serve, tmp_path: Path
) -> None:
    deaf = Cable(lambda text, number, reader: [text] * (number != 3 or not reader))
    url = serve(deaf, **CABLE).url
    words = ("-f", "loadtest/fanout.py", "--host", url, "-u", "5", "-r", "100")
    more = ("--headless", "--only-summary", "--hold", "1", "--rate", "10")
    output = tmp_path / "output"
    with output.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "locust", *words, *more],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: child.poll() is not None, timeout=60)
    finally:
        child.kill()
    text = output.read_text()
    assert child.wait() == 1, text
    assert "10 sent" in text
    assert "5 lost" in text
    assert re.search(r"WS +deliver +50 +5\(10\.00%\)", text), text


# Those that were started with the first test.


def test_500_sockets_in_two_processes_hear_everything(started: Runs) -> None:
    run = started["big"]
    code = run.wait()
    report = run.report
    ledger = report["ledger"]
    assert ledger["asked"] == ledger["let_in"] == ledger["opened"] == 500
    assert ledger["sent"] == 6
    assert ledger["expected"] == ledger["received"] == 500 * 6
    assert ledger["lost"] == ledger["failed"] == ledger["dropped"] == 0
    assert report["latencies"]["connect"]["count"] == 500
    assert report["latencies"]["deliver"]["count"] == 500 * 6
    assert report["latencies"]["deliver"]["min"] > 0
    assert report["latencies"]["rtt"]["count"] == 6
    workers = [name for name in report["processes"] if name.startswith("worker")]
    assert len(workers) == 2
    assert report["generator"]["sockets"] == 500
    assert report["server"]["sockets"] >= 500
    assert report["server"]["memory_bytes_per_1000"] > 0
    assert report["machine"]["server_is_here"]
    assert code == (4 if report["invalid"] else 0)


def test_a_generator_that_cannot_keep_up(started: Runs) -> None:
    run = started["hasty"]
    assert run.wait() == 4
    assert "INVALID: " in run.program.errors
    assert "messages were sent late" in run.program.errors
    assert "INVALID" in (run.out / "report.html").read_text()


def test_a_server_that_is_not_there(started: Runs) -> None:
    run = started["absent"]
    assert run.wait() == 3
    assert re.search(
        r"Error: cannot connect to ws://.*/cable: Connection refused",
        run.program.errors,
    )
    assert run.report["ledger"]["sent"] == 0
    assert "Ended early: cannot connect" in (run.out / "report.html").read_text()


def test_a_knee(started: Runs) -> None:
    run = started["knee"]
    code = run.wait()
    assert [step["load"] for step in run.report["knee"]["steps"]] == [1, 2]
    assert "2 sockets: " in run.program.output
    assert "The scalability law wants six loads to fit; there are 2." in (
        run.program.output
    )
    for load in (1, 2):
        step = json.loads((run.out / f"load-{load}" / "report.json").read_text())
        assert step["ledger"]["asked"] == load
    assert code == (4 if run.report["invalid"] else 0)
    assert run.report["invalid"] or run.report["knee"]["load"] == 2


def test_a_ramp(started: Runs) -> None:
    run = started["ramp"]
    assert run.wait() == (4 if run.report["invalid"] else 0)
    report = run.report
    assert report["run"]["arrivals a second"] == 10
    assert report["ledger"]["let_in"] == 20
    assert report["ledger"]["sent"] == 20
    assert 0 < report["ledger"]["expected"] < 20 * 19  # who came later is owed less
    assert (run.out / "against-sockets.png").exists()
