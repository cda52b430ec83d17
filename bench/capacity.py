"""How many sockets this machine holds, and where it bends: the capacity lab's figures.

``python -m bench.capacity [NAME …]`` starts a server for each run, loads it with
``gateway loadtest`` and prints a row of a table. The reports are in build/capacity.
Server, generator and Redis share the cores of one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import ROOT

__all__ = ["RUNS"]

_REPORTS = ROOT / "build" / "capacity"
_PEERS = str(ROOT / ".venv-bench" / "bin" / "python")
_START_S = 30.0
_HELD = ("--duration=300", "--rate=0.1", "--slo=lost=0,failed=0,dropped=0")
_KNEE = (
    *("--shape=knee", "--duration=10", "--arrival-rate=800"),
    "--slo=p99<250ms,lost=0",
)
_SAME = ("fanout", "--sockets=1000", "--rate=5", "--duration=30")

_COLUMNS = (
    *("run", "exit", "let in", "lost", "dropped", "deliver p50", "p99 (ms)"),
    *("server CPU %/1,000", "server KiB/socket", "generator KiB/socket", "found"),
)


@dataclass(frozen=True)
class Run:
    """What is loaded, and how: words for ``gateway loadtest``, but for --url."""

    words: Sequence[str]
    workers: int = 1
    peer: str = ""
    """Another server, in bench/peers; else it is the gateway."""
    path: str = "/cable"


RUNS = {
    "held-1": Run(("fanout", "--sockets=18000", "--arrival-rate=300", *_HELD)),
    "held-5": Run(
        (
            *("fanout", "--sockets=90000", "--processes=5", "--arrival-rate=300"),
            *_HELD,
        ),
        workers=5,
    ),
    "fanout-1": Run(("fanout", "--sockets=18000", "--rate=5", *_KNEE)),
    "fanout-2": Run(("fanout", "--sockets=18000", "--rate=5", *_KNEE), workers=2),
    "rooms-1": Run(("rooms", "--sockets=16000", "--rooms=800", "--rate=4", *_KNEE)),
    "rooms-2": Run(
        # 200 rooms: what is said in 800 is more than one speaker gets through Redis.
        ("rooms", "--sockets=16000", "--rooms=200", "--rate=4", *_KNEE),
        workers=2,
    ),
    "gateway": Run(_SAME),
    "python-websockets": Run(
        (*_SAME, "--dialect=plain"), peer="websockets_server.py", path="/"
    ),
    "Flask-SocketIO": Run(
        (*_SAME, "--dialect=socketio"), peer="flask_socketio_server.py", path=""
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    names = parser.parse_args().names or list(RUNS)
    if unknown := set(names) - set(RUNS):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(RUNS)}")
    rows = [row for name in names if (row := measure(name, RUNS[name])) is not None]
    rule = ("---",) * len(_COLUMNS)
    print("\n" + "\n".join(_line(row) for row in (_COLUMNS, rule, *rows)))


def measure(name: str, run: Run) -> tuple[object, ...] | None:
    """Make one run; returns its row, or None (and a word about it) if it cannot be."""
    if run.peer and not Path(_PEERS).exists():
        print(f"{name} is left out: `make capacity` installs what it needs")
        return None
    folder = _REPORTS / name
    with _server(run) as port:
        command = [
            *(sys.executable, "-m", "gateway", "loadtest", *run.words),
            *("--url", f"ws://127.0.0.1:{port}{run.path}", "--out", str(folder)),
        ]
        print(f"\n{name}: {shlex.join(['gateway', *command[3:]])}", flush=True)
        code = subprocess.run(command, cwd=ROOT).returncode
    report = folder / "report.json"
    if not report.exists():
        return None
    return _row(name, code, json.loads(report.read_text()))


@contextmanager
def _server(run: Run) -> Iterator[int]:
    """The run's server at a free port, with a Redis if it has several workers."""
    port, redis = _free_port(), _free_port()
    if run.peer:
        peer = str(ROOT / "bench" / "peers" / run.peer)
        with _process(port, _PEERS, peer, str(port), "fanout"):
            yield port
        return
    words = [sys.executable, "-m", "gateway", "serve", "bench.app:app"]
    words += ["--config", "bench/gunicorn.py"]
    words += ["--bind", f"127.0.0.1:{port}", "--workers", str(run.workers)]
    environ = {
        "GATEWAY_ENV": "development",
        "GATEWAY_PING_INTERVAL": "25",
        "GATEWAY_DRAIN_SECONDS": "0",
    }
    if run.workers == 1:
        with _process(port, *words, **environ):
            yield port
        return
    environ["GATEWAY_ADAPTER"] = "redis"
    environ["GATEWAY_URL"] = f"redis://127.0.0.1:{redis}/0"
    store = ("redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "")
    with _process(redis, *store), _process(port, *words, **environ):
        yield port


@contextmanager
def _process(port: int, *command: str, **environ: str) -> Iterator[None]:
    """A command that listens at ``port``, while the ``with`` lasts."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + _START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise ChildProcessError(f"does not serve: {shlex.join(command)}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _row(name: str, code: int, report: dict[str, Any]) -> tuple[object, ...]:
    ledger, server = report["ledger"], report["server"]
    deliver = report["latencies"].get("deliver", {})
    own = report["generator"]["memory_bytes_per_socket"]
    return (
        *(name, code, ledger["let_in"], ledger["lost"], ledger["dropped"]),
        *(deliver.get("p50"), deliver.get("p99")),
        server and server["cpu_per_1000"],
        server and round(server["memory_bytes_per_1000"] / 1024 / 1000, 2),
        own and round(own / 1024, 1),
        report["knee"]["sentence"] if "knee" in report else "",
    )


def _line(row: Sequence[object]) -> str:
    shown = ("" if value is None else str(value) for value in row)
    return f"| {' | '.join(shown)} |"


if __name__ == "__main__":
    main()
