"""An app on gunicorn's sync workers, and the gateway beside it, joined by Redis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import flask
import pytest
from flask import Flask
from gevent.socket import create_connection

from gateway import Connection, Gateway
from gateway.websocket import connect
from tests.support import eventually
from tests.support.app import CableClient, Served
from tests.support.live import ROOT, LiveServer
from tests.support.redis import RedisServer, free_port

pytestmark = pytest.mark.process

SYNC = (sys.executable, "-m", "gunicorn", "-k", "sync", "examples.legacy:app")


def post(port: int, path: str, cookie: str = "", **form: str) -> str:
    """Post a form as a browser; returns the cookie that it has then."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.sock = create_connection(("127.0.0.1", port), timeout=10)
    kind = "application/x-www-form-urlencoded"
    headers = {"Cookie": cookie, "Content-Type": kind}
    connection.request("POST", path, urlencode(form), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    return answer.headers.get("Set-Cookie", cookie).partition(";")[0]


def blocks(language: str) -> list[str]:
    """The code of that language in docs/legacy.md."""
    text = (ROOT / "docs" / "legacy.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[int, int], int]]:
    """Starts nginx as the document has it, for two ports; returns its own."""
    started: list[subprocess.Popen[bytes]] = []
    folder = tmp_path / "nginx"
    folder.mkdir()

    def start(app: int, gateway: int) -> int:
        port = free_port()
        (text,) = blocks("nginx")
        for theirs, ours in ((5000, app), (8000, gateway), (8080, port)):
            assert text.count(f"127.0.0.1:{theirs};") == 1
            text = text.replace(f"127.0.0.1:{theirs};", f"127.0.0.1:{ours};")
        paths = "".join(
            f"{kind}_temp_path {folder};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            "pid nginx.pid; error_log stderr warn; events {}\n"
            f"http {{\naccess_log off;\n{paths}{text}}}\n"
        )
        command = ["nginx", "-p", folder, "-c", "nginx.conf", "-g", "daemon off;"]
        started.append(subprocess.Popen(command))

        def listens() -> bool:
            assert started[-1].poll() is None
            try:
                create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return False
            return True

        eventually(listens)
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_the_other_app_speaks_to_those_who_logged_in_there(
    tmp_path: Path, redis: RedisServer, nginx: Callable[[int, int], int]
) -> None:
    environ = {"SECRET_KEY": "shared", "REDIS_URL": redis.url}
    app = "examples.legacy_gateway:app"
    with (
        LiveServer(tmp_path, command=SYNC, **environ) as legacy,
        LiveServer(tmp_path, app, **environ) as gateway,
    ):
        port = nginx(legacy.port, gateway.port)
        url = f"ws://127.0.0.1:{port}/cable"
        stranger = CableClient(connect(url))
        assert stranger.receive()["reason"] == "unauthorized"
        cookie = post(port, "/login", name="ann")
        headers = {"Cookie": cookie}
        origin = f"http://127.0.0.1:{port}"
        ann = CableClient(connect(url, headers=headers, origin=origin))
        assert ann.receive() == {"type": "welcome"}
        assert ann.subscribe("PricesChannel") == "confirm_subscription"
        post(port, "/price", cookie, apples="2.5")
        assert ann.message() == {"apples": 2.5}
        post(port, "/logout", cookie)
        assert ann.receive() == {
            "type": "disconnect",
            "reason": "remote",
            "reconnect": False,
        }


def test_tokens_say_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "shared")
    _, other, ours = blocks("python")
    legacy, app = Flask("legacy"), Flask("gateway")
    legacy.secret_key = "of the session"
    exec(other, {"os": os, "app": legacy, "session": flask.session})
    names = {"os": os, "gateway": Gateway(app), "Connection": Connection}
    exec(ours, names)
    browser = legacy.test_client()
    with browser.session_transaction() as session:
        session["name"] = "ann"
    with Served(app) as served:
        ann = CableClient(served.connect(browser.get("/cable-url").text))
        assert ann.receive() == {"type": "welcome"}
        (info,) = served.cable.connections()
        assert info.identifiers == {"current_user": "ann"}
        for query in ("", "?token=", "?token=made.up"):
            stranger = CableClient(served.connect(f"/cable{query}"))
            assert stranger.receive()["reason"] == "unauthorized"
