"""gunicorn's settings, and the line of the Procfile that a host runs."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gevent.socket import create_connection

from gateway.errors import ConfigError
from tests.support import eventually
from tests.support.live import ROOT
from tests.support.redis import RedisServer, free_port


def serving(monkeypatch: pytest.MonkeyPatch, **environ: str) -> dict[str, Any]:
    """The settings in such an environment."""
    for name in ("HOST", "PORT", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "nowhere")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(ROOT / "gateway" / "serving.py"))


@pytest.mark.parametrize(
    ("environ", "bind"),
    [
        ({}, "127.0.0.1:8000"),
        ({"PORT": "5000"}, "0.0.0.0:5000"),
        ({"PORT": "5000", "HOST": "127.0.0.1"}, "127.0.0.1:5000"),
        ({"HOST": "10.0.0.1"}, "10.0.0.1:8000"),
        ({"HOST": "", "PORT": ""}, "127.0.0.1:8000"),
    ],
)
def test_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], bind: str
) -> None:
    assert serving(monkeypatch, **environ)["bind"] == bind


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving(monkeypatch)["workers"] == 1
    assert serving(monkeypatch, WEB_CONCURRENCY="3")["workers"] == 3
    for text in ("two", "0", "-1", "1.5"):
        with pytest.raises(ConfigError, match="write how many worker processes"):
            serving(monkeypatch, WEB_CONCURRENCY=text)


# The Procfile


@contextmanager
def web(folder: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """What a host runs, in a clean environment, and its log."""
    line = re.search(r"^web: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert line
    log = folder / "web.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", f"exec env {line[1]}"],
            cwd=ROOT,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                **{k: v for k, v in os.environ.items() if k.startswith("COVERAGE")},
                **environ,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.terminate()
            eventually(lambda: process.poll() is not None, 30)


@pytest.mark.process
def test_a_host_runs_the_procfile(tmp_path: Path) -> None:
    """In production, with Redis, for all who reach the port."""
    port = str(free_port())
    with (
        RedisServer(tmp_path / "redis") as redis,
        web(tmp_path, PORT=port, SECRET_KEY="s", REDIS_URL=redis.url) as (_, log),
    ):
        eventually(lambda: f"Listening at: http://0.0.0.0:{port}" in log.read_text())

        def answer() -> bytes:
            with create_connection(("127.0.0.1", int(port))) as sock:
                sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                parts = iter(lambda: sock.recv(65536), b"")
                return b"".join(parts)

        eventually(lambda: b"HTTP/1.1 200" in answer())
        assert b'"adapter":"redis"' in answer().replace(b" ", b"")


@pytest.mark.process
def test_a_host_without_a_secret(tmp_path: Path) -> None:
    with web(tmp_path, PORT=str(free_port())) as (process, log):
        eventually(lambda: process.poll() is not None, 30)
        assert process.poll() != 0
        assert "SECRET_KEY to a long random string" in log.read_text()
