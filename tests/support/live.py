"""The demo, or another app, served by real gunicorn processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil
from gevent.socket import create_connection

from gateway.websocket import WebSocket, connect
from tests.support import eventually
from tests.support.raw import RawClient

__all__ = ["ROOT", "LiveServer", "settings"]

ROOT = Path(__file__).parent.parent.parent
_ENVIRON = {"PYTHONUNBUFFERED": "1", "GATEWAY_ENV": "development"}
_LISTENING = re.compile(r"Listening at: https?://127\.0\.0\.1:(\d+)")


class LiveServer:
    """``gateway serve`` on a free port, its log in ``log``."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        command: tuple[str, ...] | None = None,
        cwd: Path = ROOT,
        **environ: str,
    ) -> None:
        self.log_file = folder / f"server-{id(self)}.log"
        arguments = command or (sys.executable, "-m", "gateway", "serve")
        with self.log_file.open("w") as output:
            self.process = subprocess.Popen(
                [*arguments, "--bind", "127.0.0.1:0", *options],
                cwd=cwd,
                env={**os.environ, **_ENVIRON, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            found = eventually(lambda: self._started() or self._failed(), 20)
            self.port = int(found.group(1))
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        """What the server has printed."""
        return self.log_file.read_text()

    @property
    def url(self) -> str:
        """``http://…`` without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return psutil.Process(self.process.pid).children()

    def connect(self, path: str, **options: Any) -> WebSocket:
        """A WebSocket to this server, by our own client."""
        ws: WebSocket = connect(f"ws://127.0.0.1:{self.port}{path}", **options)
        return ws

    def raw(self) -> RawClient:
        """A TCP connection to this server."""
        return RawClient(self.port)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body of a page, by a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.sock = create_connection(("127.0.0.1", self.port), timeout=10)
        connection.request("GET", path, headers={"Connection": "close", **headers})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def post(self, path: str, body: object, key: str) -> tuple[int, str]:
        """Post JSON with a bearer key; status and body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.sock = create_connection(("127.0.0.1", self.port), timeout=10)
        headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
        try:
            connection.request("POST", path, msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def status(self) -> str:
        """What ``/health`` says in a word."""
        code, body = self.get("/health")
        word = str(msgspec.json.decode(body)["status"])
        assert code == (200 if word == "ok" else 503)
        return word

    def reload(self) -> None:
        """SIGHUP: new workers for old ones."""
        self.process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """SIGTERM, as every host sends it."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 30) -> int:
        """Wait for the end; returns the exit code."""
        return eventually(self._ended, timeout)[0]

    def stop(self) -> None:
        """End it, politely first."""
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except AssertionError:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if value is not None:
            value.add_note(f"the server's log:\n{self.log}")

    def _started(self) -> re.Match[str] | None:
        ready = "Booting worker" in self.log
        return _LISTENING.search(self.log) if ready else None

    def _failed(self) -> re.Match[str] | None:
        assert self.process.poll() is None, f"the server ended:\n{self.log}"
        return None

    def _ended(self) -> tuple[int] | None:
        code = self.process.poll()
        return None if code is None else (code,)


def settings(folder: Path, lines: str) -> tuple[str, str]:
    """Options for ``gateway serve`` with more of gunicorn's settings."""
    (folder / "settings.py").write_text(f"from gateway.serving import *\n{lines}\n")
    return "--config", str(folder / "settings.py")
