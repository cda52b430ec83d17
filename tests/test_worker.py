"""The gunicorn worker, as a process: how it begins, and what it serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.broadcaster import Broadcaster
from gateway.control import CONTROL
from gateway.server import CableServer
from gateway.websocket import Limits
from gateway.websocket.admission import Places
from gateway.worker import GatewayWorker
from tests.support import eventually
from tests.support.app import identify, welcomed
from tests.support.live import ROOT, LiveServer, settings
from tests.support.redis import RedisServer, free_port

pytestmark = pytest.mark.process


def test_idle_sockets_cost_neither_greenlets_nor_worker_connections(
    tmp_path: Path,
) -> None:
    """Fifty sockets where gunicorn would allow five requests at a time."""
    options = settings(tmp_path, "worker_connections = 5")
    with LiveServer(tmp_path, *options) as server:
        sockets = [server.connect("/cable") for _ in range(50)]
        for ws in sockets:
            assert ws.receive(5) == '{"type":"welcome"}'
        for ws in sockets:
            ws.close()


def test_a_worker_with_little_room_lets_others_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sockets: list[int] = []
    places = Places(Limits(max_sockets=1000), sockets)
    server = SimpleNamespace(endpoint=SimpleNamespace(places=places))
    monkeypatch.setattr(CableServer, "running", [server])
    worker = GatewayWorker.__new__(GatewayWorker)
    worker.cfg = SimpleNamespace(workers=2)
    pauses = []
    for sockets[:] in (range(800), range(900), range(990), range(1000)):
        pauses.append(worker.pause_s)
    assert 0 == pauses[0] < pauses[1] < pauses[2] < pauses[3]
    worker.cfg.workers = 1
    assert worker.pause_s == 0


def test_it_goes_on_if_nobody_else_does(tmp_path: Path) -> None:
    """The other worker sleeps; all places of this one are taken all the same."""
    say_so = "post_worker_init = lambda worker: worker.log.info('has booted')"
    options = [*settings(tmp_path, say_so), "--workers", "2"]
    with LiveServer(tmp_path, *options, GATEWAY_MAX_SOCKETS="40") as server:
        eventually(lambda: server.log.count("has booted") == 2)
        idle = server.workers[0]
        idle.suspend()
        sockets = [server.connect("/cable") for _ in range(40)]
        idle.resume()
        for ws in sockets:
            assert ws.receive(5) == '{"type":"welcome"}'
        for ws in sockets:
            ws.close()


CHAT = identify("ChatChannel", room_id="lobby")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_it_becomes_ready_when_redis_is_there(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.kill()
    environ = {
        "GATEWAY_ADAPTER": "redis",
        "GATEWAY_URL": redis.url,
        "GATEWAY_PUBLISH_TIMEOUT": "0.3",
    }
    with LiveServer(tmp_path, **environ) as server:
        eventually(lambda: "Not ready:" in server.log)
        assert server.status() == "no broker"
        assert server.get("/health/live")[0] == 200
        answer, headers, body = server.raw().request("/cable")
        assert (answer, headers["retry-after"]) == (503, "1")
        assert body == b"The message broker does not answer.\n"
        redis.start()
        eventually(lambda: server.status() == "ok")
        with welcomed(server) as client:
            client.subscribe("ChatChannel", room_id="lobby")
            redis.kill()
            eventually(lambda: server.status() == "no broker")
            redis.start()
            eventually(lambda: server.status() == "ok")
            client.perform(CHAT, action="speak", message="hi")
            assert client.message()["message"] == "hi"


def test_nobody_is_told_the_password_of_redis(tmp_path: Path) -> None:
    """Not even who has the key, nor the log."""
    environ = {
        "GATEWAY_ADAPTER": "redis",
        "GATEWAY_URL": f"redis://user:hunter2@127.0.0.1:{free_port()}/0",
        "GATEWAY_PUBLISH_TIMEOUT": "0.3",
        "GATEWAY_BROADCAST_KEY": "key",
    }
    with LiveServer(tmp_path, **environ) as server:
        eventually(lambda: "Not ready:" in server.log)
        code, body = server.post(
            "/cable/broadcast", {"stream": "s", "data": "1"}, "key"
        )
        assert code == 503
        assert "did not take a message for 's'" in body
        pages = ("/health", "/metrics", "/cable/events?channel=ChatChannel")
        answers = [body, *(server.get(path)[1] for path in pages)]
        assert server.get("/health/live")[0] == 200
        assert "hunter2" not in "".join(answers)
        server.terminate()
        server.wait()
        assert "hunter2" not in server.log


def test_the_arbiter_does_not_speak_for_its_workers(live: LiveServer) -> None:
    """It has the same figures, which stay 0, and the least of them is told."""

    def is_up() -> bool:
        client = live.raw()
        client.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while part := client.sock.recv(65536):
            data += part
        return b"\ngateway_redis_up 1.0\n" in data

    eventually(is_up)


def test_nothing_that_is_needed_is_an_assertion(
    tmp_path: Path, redis: RedisServer
) -> None:
    """``python -O`` leaves those out."""
    environ = {"GATEWAY_ADAPTER": "redis", "GATEWAY_URL": redis.url}
    with (
        LiveServer(tmp_path, **environ, PYTHONOPTIMIZE="1") as server,
        Broadcaster.from_url(redis.url) as speaker,
    ):
        eventually(lambda: redis.ask("PUBSUB", "NUMSUB", CONTROL) == [CONTROL, 1])
        assert server.status() == "ok"
        assert "\ngateway_redis_up 1.0\n" in server.get("/metrics")[1]
        with welcomed(server) as client:
            client.subscribe("ChatChannel", room_id="lobby")
            speaker.broadcast("chat_lobby", {"message": "hi"})
            assert client.message() == {"message": "hi"}
            client.perform(CHAT, action="speak", message="ho")
            assert client.message()["message"] == "ho"
    script = f"""
from gateway.broadcaster import Broadcaster
Broadcaster.from_url({redis.url!r}).broadcast("optimized", 1)
"""
    subprocess.run([sys.executable, "-O", "-c", script], cwd=ROOT, check=True)
    assert redis.ask("XLEN", "{optimized}:log") == 1
