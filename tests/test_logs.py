"""What a served app logs, and where: errors, requests, sockets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.app import welcomed
from tests.support.live import LiveServer, settings

pytestmark = pytest.mark.process


def test_the_access_log_tells_when_sockets_come_and_go(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = (
        f'accesslog = "{log}"\n'
        'import logging; logging.getLogger("gateway.access").setLevel("INFO")'
    )
    with LiveServer(tmp_path, *settings(tmp_path, lines)) as server:
        with server.connect("/echo?token=secret") as ws:
            ws.send("hello")
            assert ws.receive(5) == "hello"
        eventually(lambda: log.read_text().count("\n") == 2)
        opened, closed = log.read_text().splitlines()
        assert '"GET /echo HTTP/1.1" 101' in opened
        # When it was, then what gateway.websocket.access has to say.
        assert re.match(
            r"\[\d\d/\w{3}/[\d: +]+\] 127.0.0.1 '/echo' protocol=- ", closed
        )
        assert "messages_in=1 messages_out=1" in closed
        assert closed.endswith("reason=closed_by_peer code=1000")
        assert "/echo" not in server.log


def test_requests_and_upgrades_are_in_the_log_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    """With the seconds that each took, without queries, and not how sockets end."""
    with LiveServer(tmp_path) as server:
        server.connect("/echo?token=secret").close()
        assert server.get("/health/live?token=secret")[0] == 200
        line = r'^127.0.0.1 \[.*\] "GET {} HTTP/1.1" {} \d+ \d+\.\d{{6}} "'
        for path, status in (("/echo", 101), ("/health/live", 200)):
            wanted = re.compile(line.format(path, status), re.MULTILINE)
            eventually(lambda w=wanted: w.search(server.log))
        server.terminate()
        server.wait()
        assert "secret" not in server.log
        assert "closed_by_peer" not in server.log


def test_without_an_access_log_nobody_is_told(tmp_path: Path) -> None:
    with LiveServer(tmp_path, *settings(tmp_path, "accesslog = None")) as server:
        server.connect("/echo").close()
        server.terminate()
        server.wait()
        assert "/echo" not in server.log


LOUD = """
from gevent import monkey; monkey.patch_all()
import logging
from flask import Flask
from gateway import Gateway

app = Flask(__name__)
gateway = Gateway(app)
"""


def test_what_the_gateway_says_is_in_gunicorns_log(tmp_path: Path) -> None:
    """From gunicorn's level on, INFO if nothing else is said."""
    ignored = re.compile(r"^\[.*\] \[\d+\] \[INFO\] .*: ignored: ", re.MULTILINE)
    with LiveServer(tmp_path) as server, welcomed(server) as client:
        client.send(command="nonsense")
        eventually(lambda: ignored.search(server.log))
        assert "[DEBUG]" not in server.log
    options = settings(tmp_path, 'loglevel = "debug"')
    with LiveServer(tmp_path, *options) as server, welcomed(server) as client:
        client.subscribe("ChatChannel", room_id="lobby")
        assert re.search(r"\[DEBUG\] .*: subscribe {.*'lobby'}", server.log)


def test_a_program_that_logs_in_its_own_way_is_left_alone(tmp_path: Path) -> None:
    own = 'logging.basicConfig(format="own: %(message)s", level="INFO")\n'
    (tmp_path / "loud.py").write_text(LOUD + own)
    with LiveServer(tmp_path, "loud:app", cwd=tmp_path) as server:
        with welcomed(server) as client:
            client.send(command="nonsense")
            eventually(lambda: "ignored" in server.log)
            client.subscribe("NoChannel")
        assert server.log.count("'nonsense'") == 1
        assert re.search("^own: .*ignored", server.log, re.MULTILINE)
