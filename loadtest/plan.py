"""One run of a scenario, as a Locust process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from loadtest.machine import is_loopback

__all__ = ["MOST_PER_ADDRESS", "NotMeasured", "Plan", "free_port"]

MOST_PER_ADDRESS = 12_000
"""Sockets from one source address. It has 28,000 ports by Linux's default
(net.ipv4.ip_local_port_range), but the kernel tries the even half first, and once that
is taken each connect() searches it in vain: 900 new sockets a second became 100."""

_SLACK_S = 150.0
_LAST_WORDS_S = 45.0
_POLL_S = 0.1
_HERE = Path(__file__).parent

Progress = Callable[[dict[str, Any]], object]


class NotMeasured(Exception):
    """There is no result at all; says why."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run. Times are in seconds, rates per second.

    With a ``web_port`` it begins when somebody says so on Locust's page, which is at
    that port of this machine only.
    """

    scenario: str
    url: str
    sockets: int
    duration: float
    processes: int
    arrival_rate: float
    rate: float | None = None
    size: int = 200
    rooms: int = 100
    dialect: str = "cable"
    channel: str = ""
    action: str = ""
    origin: str | None = None
    ramp: bool = False
    web_port: int | None = None

    @property
    def source_addresses(self) -> int:
        """How many it comes from: several only where the server is on loopback."""
        if not is_loopback(self.url):
            return 1
        return 1 + (self.sockets - 1) // MOST_PER_ADDRESS

    def command(self, folder: Path) -> list[str]:
        """Locust's command line."""
        port = str(free_port())
        options: dict[str, object] = {
            "--locustfile": _HERE / f"{self.scenario}.py",
            "--host": self.url,
            "--users": self.sockets,
            "--spawn-rate": self.arrival_rate,
            "--processes": self.processes,
            "--master-port": port,
            "--master-bind-port": port,
            "--master-bind-host": "127.0.0.1",
            "--web-host": "127.0.0.1",
            "--web-port": self.web_port,
            "--loglevel": "ERROR",
            "--hold": self.duration,
            "--rate": self.rate,
            "--size": self.size,
            "--room-count": self.rooms,
            "--dialect": self.dialect,
            "--channel": self.channel,
            "--action": self.action,
            "--origin": self.origin,
            "--source-addresses": self.source_addresses,
            "--out": folder,
            "--owner": os.getpid(),
        }
        words = [sys.executable, "-m", "locust"]
        for name, value in options.items():
            if value not in (None, ""):
                words += [name, str(value)]
        if self.ramp:
            words.append("--ramp")
        if self.web_port is None:
            words += ["--headless", "--only-summary"]
        return words

    def run(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Run it, telling ``progress`` every second; Ctrl-C ends it early.

        Raises:
            NotMeasured: Locust ended without a result.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for old in ("result.json", "progress.jsonl"):
            (folder / old).unlink(missing_ok=True)
        with (folder / "locust.log").open("w") as log:
            process = subprocess.Popen(
                self.command(folder),
                env={**os.environ, "GEVENT_TRACK_GREENLET_TREE": "0"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stopped = self._wait(process, folder, progress)
        if not (folder / "result.json").exists():
            raise NotMeasured(self._why(folder))
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return {**result, "stopped": stopped}

    def _wait(
        self, process: subprocess.Popen[bytes], folder: Path, progress: Progress
    ) -> bool:
        """Wait for its end; whether somebody stopped it.

        It is told with SIGTERM: Locust sometimes swallows SIGINT.
        """
        stopped = False
        patience = self.sockets / self.arrival_rate + self.duration + _SLACK_S
        until = monotonic() + patience if self.web_port is None else float("inf")
        shown = ""
        try:
            while process.poll() is None:
                try:
                    last = _last_line(folder / "progress.jsonl")
                    if last and last != shown:
                        progress(json.loads(last))
                        shown = last
                    late = monotonic() > until
                    sleep(_POLL_S)
                except KeyboardInterrupt:
                    late = True
                if late:
                    if stopped:
                        break  # told twice, or it has had its time
                    stopped, until = True, monotonic() + _LAST_WORDS_S
                    process.terminate()
        finally:
            with suppress(ProcessLookupError):  # its workers may outlive it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return stopped

    def _why(self, folder: Path) -> str:
        lines = (folder / "locust.log").read_text().strip().splitlines()
        if self.web_port is not None and not lines:
            return "nobody pressed start on Locust's page"
        errors = [line.partition("Error: ")[2] for line in lines if "Error: " in line]
        last = errors[-1:] or lines[-1:] or ["it said nothing"]
        return f"Locust ended without a result: {last[0]}"


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _last_line(path: Path) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return lines[-1] if lines and lines[-1].endswith("}") else ""
