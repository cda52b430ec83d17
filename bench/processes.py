"""Server processes: started on a core of their own, measured, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["ROOT", "Server", "gateway", "pin_load"]

ROOT = Path(__file__).parent.parent

_SERVER_CORE = {0}
_LOAD_CORES = set(range(1, os.cpu_count() or 1)) or {0}
_START_S = 20.0
_ARE_YOU_THERE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
_QUIET = {
    # Heartbeats are measured on their own; the others have none.
    "GATEWAY_PING_INTERVAL": "3600",
    "GATEWAY_WEBSOCKET_PING_INTERVAL": "null",
    "GATEWAY_DRAIN_SECONDS": "0",
    "GATEWAY_ADAPTER": "memory",
    "GATEWAY_ENV": "development",
}


class Server:
    """A command that listens on ``port`` in the end, until the ``with`` is over.

    ``{port}`` in the command is replaced by a free port. If the process has a child,
    it is the child that serves, and is measured.
    """

    def __init__(self, *command: str, environ: dict[str, str] | None = None) -> None:
        self.port = _free_port()
        self._log = os.memfd_create("log")
        self.process = subprocess.Popen(
            [word.replace("{port}", str(self.port)) for word in command],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=lambda: os.sched_setaffinity(0, _SERVER_CORE),
        )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What it has printed."""
        return os.pread(self._log, 2**20, 0).decode(errors="replace")

    @property
    def pid(self) -> int:
        """The process that serves."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else pid

    def cpu_s(self) -> float:
        """The CPU seconds that all its threads have used so far, to the microsecond."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        spent = (int((each / "schedstat").read_text().split()[0]) for each in threads)
        return sum(spent) / 1e9

    def resident_kb(self) -> int:
        """Its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise ProcessLookupError(f"process {self.pid} is gone")

    def get(self, path: str) -> dict[str, Any]:
        """Ask for a page in JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request("GET", path)
            found: dict[str, Any] = json.load(connection.getresponse())
        return found

    def stop(self) -> None:
        """Kill it and its children: nobody is there who would need a farewell."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if value is not None:
            value.add_note(f"the server's log:\n{self.log[-4000:]}")
        os.close(self._log)

    def _wait_until_it_listens(self) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise ChildProcessError(f"the server ended:\n{self.log}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                    sock.sendall(_ARE_YOU_THERE)
                    sock.settimeout(_START_S)
                    sock.recv(1)  # a worker that is still loading accepts nothing
                    return
            except ConnectionError:
                time.sleep(0.05)
        raise TimeoutError(f"no server within {_START_S:g} s:\n{self.log}")


def gateway(app: str = "bench.app:app", **settings: str) -> Server:
    """One worker of ours, without heartbeats unless ``settings`` say so.

    ``settings`` are those of ``config/cable.yml``, in lower case.
    """
    given = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    return Server(
        *(sys.executable, "-m", "gateway", "serve", app),
        *("--config", "bench/gunicorn.py"),
        *("--bind", "0.0.0.0:{port}", "--workers", "1"),
        environ={**_QUIET, **given},
    )


def pin_load() -> None:
    """Keep this process off the servers' core."""
    os.sched_setaffinity(0, _LOAD_CORES)


def _free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])
