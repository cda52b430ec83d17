"""How a worker ends: told to, hurried, replaced; and what it waits for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from gateway.errors import ConnectionClosed
from tests.support import eventually
from tests.support.app import RESTART, CableClient, welcomed
from tests.support.live import LiveServer, settings
from tests.support.redis import RedisServer

pytestmark = pytest.mark.process

APP = """
from gevent import monkey; monkey.patch_all()
import time
from flask import Flask
from gateway import Channel, Connection, Gateway

app = Flask(__name__)
gateway = Gateway(app)

@gateway.connection
class SlowConnection(Connection):
    def connect(self):
        print("connect begins", flush=True)
        time.sleep(float(self.request.args.get("slow", 0)))

    def disconnect(self):
        time.sleep(float(app.config["SLOW"]))
        print("disconnect has run", flush=True)

@gateway.channel
class NewsChannel(Channel):
    def subscribed(self):
        self.stream_from("news")

    def unsubscribed(self):
        time.sleep(float(app.config["SLOW"]))
        print("unsubscribed has run", flush=True)

@app.get("/slow")
def slow():
    print("the request begins", flush=True)
    time.sleep(1.5)
    return "at last"
"""


def slow_app(folder: Path, *, callbacks_s: float) -> dict[str, object]:
    """An app whose callbacks take their time, and how it is served."""
    (folder / "app.py").write_text(f"{APP}\napp.config['SLOW'] = {callbacks_s}\n")
    return {"cwd": folder, "GATEWAY_DRAIN_SECONDS": "0.2"}


class Crowd:
    """Clients that read what they are told, as browsers do, until they are closed."""

    def __init__(self, server: LiveServer, size: int, path: str = "/cable") -> None:
        self.clients = [welcomed(server, path) for _ in range(size)]
        self.told: list[Any] = []
        """What each was told last, of those that were closed with 1001."""
        self._reading = [gevent.spawn(self._read, client) for client in self.clients]

    def leaves(self) -> None:
        """All have been sent away, politely."""
        gevent.joinall(self._reading, timeout=30, raise_error=True)
        assert self.told == [RESTART] * len(self.clients)

    def _read(self, client: CableClient) -> None:
        said = None
        try:
            while True:
                said = client.receive(60)
        except ConnectionClosed:
            assert client.ws.close_code == 1001
            self.told.append(said)


def test_sigterm_sends_clients_away_and_ends_well(tmp_path: Path) -> None:
    with LiveServer(tmp_path, GATEWAY_DRAIN_SECONDS="0.2") as server:
        crowd = Crowd(server, 5)
        bare = server.connect("/echo")
        server.terminate()
        crowd.leaves()
        assert bare.wait_closed(5)
        assert bare.close_code == 1001
        assert server.wait() == 0
        assert "Traceback" not in server.log


def test_it_is_not_ready_before_it_stops_accepting(tmp_path: Path) -> None:
    """For balancers that ask before they look away; a second signal is for hurry."""
    delay = {"GATEWAY_SHUTDOWN_DELAY": "100", "GATEWAY_DRAIN_SECONDS": "100"}
    options = settings(tmp_path, "graceful_timeout = 1")
    with LiveServer(tmp_path, *options, **delay) as server:
        crowd = Crowd(server, 3)
        (worker,) = server.workers
        worker.terminate()
        eventually(lambda: server.status() == "draining")
        assert server.get("/health/live")[0] == 200
        answer, headers, _ = server.raw().request("/cable")
        assert (answer, headers["retry-after"]) == (503, "1")
        for client in crowd.clients:
            client.send(command="nonsense")
        eventually(lambda: server.log.count("'nonsense'") == 3)  # they are still served
        worker.terminate()
        crowd.leaves()
        eventually(lambda: not worker.is_running())
        assert (
            "shutdown_delay + drain_seconds = 200 s, but gunicorn kills" in server.log
        )


def test_a_second_signal_hurries_those_that_are_leaving(tmp_path: Path) -> None:
    with LiveServer(tmp_path, GATEWAY_DRAIN_SECONDS="1000") as server:
        crowd = Crowd(server, 20)
        (worker,) = server.workers
        worker.terminate()
        eventually(lambda: crowd.told)
        assert len(crowd.told) < 20
        worker.terminate()
        crowd.leaves()
        eventually(lambda: not worker.is_running())


def test_a_reload_costs_a_reconnect(tmp_path: Path) -> None:
    with LiveServer(tmp_path, GATEWAY_DRAIN_SECONDS="0.1") as server:
        client = welcomed(server)
        (before,) = server.workers
        server.process.send_signal(signal.SIGHUP)
        assert client.receive() == RESTART
        with welcomed(server) as again:
            assert again.subscribe("ChatChannel", room_id="lobby") == (
                "confirm_subscription"
            )
        eventually(lambda: [w.pid for w in server.workers if w.pid != before.pid])
        eventually(lambda: not before.is_running())


def test_a_worker_is_replaced_after_max_requests(tmp_path: Path) -> None:
    options = settings(tmp_path, "max_requests = 3")
    with LiveServer(tmp_path, *options, GATEWAY_DRAIN_SECONDS="0.1") as server:
        client = welcomed(server)  # the first
        (before,) = server.workers
        for _ in range(2):
            assert server.get("/health/live")[0] == 200
        assert client.receive() == RESTART
        eventually(lambda: not before.is_running())
        assert "Draining after 3 requests" in server.log
        eventually(lambda: server.status() == "ok")


def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server:
        server.terminate()
        assert server.wait() == 0
        assert "Traceback" not in server.log


# What is under way


def test_callbacks_are_waited_for(tmp_path: Path) -> None:
    """Longer than gunicorn looks, and all of them."""
    with LiveServer(tmp_path, "app:app", **slow_app(tmp_path, callbacks_s=2)) as server:
        clients = [welcomed(server) for _ in range(3)]
        for client in clients:
            client.subscribe("NewsChannel")
        server.terminate()
        for client in clients:
            assert client.receive() == RESTART
        assert server.wait() == 0
        assert server.log.count("unsubscribed has run") == 3
        assert server.log.count("disconnect has run") == 3


def test_callbacks_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    options = settings(tmp_path, "graceful_timeout = 3")
    app = slow_app(tmp_path, callbacks_s=1000)
    with LiveServer(tmp_path, "app:app", *options, **app) as server:
        client = welcomed(server)
        client.subscribe("NewsChannel")
        (worker,) = server.workers
        worker.terminate()
        assert client.receive() == RESTART
        eventually(lambda: "callbacks are cut off after graceful_timeout" in server.log)
        eventually(lambda: not worker.is_running())


def test_a_second_signal_cuts_callbacks_off(tmp_path: Path) -> None:
    options = settings(tmp_path, "graceful_timeout = 1000")
    app = slow_app(tmp_path, callbacks_s=1000)
    with LiveServer(tmp_path, "app:app", *options, **app) as server:
        client = welcomed(server)
        client.subscribe("NewsChannel")
        (worker,) = server.workers
        worker.terminate()
        assert client.receive() == RESTART
        assert client.ws.wait_closed(10)
        worker.terminate()
        eventually(lambda: not worker.is_running())
        eventually(lambda: server.status() == "ok")  # by the next worker


def test_who_comes_as_it_ends_is_sent_on(tmp_path: Path) -> None:
    """The worker was well when the handshake began, and is ending when it is done."""
    with LiveServer(tmp_path, "app:app", **slow_app(tmp_path, callbacks_s=0)) as server:
        coming = gevent.spawn(server.connect, "/cable?slow=2")
        eventually(lambda: "connect begins" in server.log)
        server.terminate()
        client = CableClient(coming.get(timeout=20))
        assert client.receive() == RESTART
        assert client.ws.wait_closed(10)
        assert client.ws.close_code == 1001
        assert server.wait() == 0
        assert "Traceback" not in server.log


def test_a_request_is_answered_before_the_end(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "app:app", **slow_app(tmp_path, callbacks_s=0)) as server:
        asking = gevent.spawn(server.get, "/slow")
        eventually(lambda: "the request begins" in server.log)
        server.terminate()
        assert asking.get(timeout=20) == (200, "at last")
        assert server.wait() == 0


# Connections that are kept alive


def test_who_goes_on_asking_is_told_that_the_connection_ends(tmp_path: Path) -> None:
    options = settings(tmp_path, "graceful_timeout = 1")
    with LiveServer(tmp_path, *options, GATEWAY_SHUTDOWN_DELAY="100") as server:
        client = server.raw()
        ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client.send(ask)
        assert "connection" not in client.response()[1]
        (worker,) = server.workers
        worker.terminate()
        eventually(lambda: server.status() == "draining")
        client.send(ask)
        status, headers, _ = client.response()
        assert (status, headers["connection"]) == (200, "close")
        client.receive_eof()
        worker.terminate()
        eventually(lambda: not worker.is_running())


def test_connections_at_rest_do_not_hold_it(tmp_path: Path) -> None:
    """They end before those that are slow to say goodbye, let alone a timeout."""
    with LiveServer(tmp_path, GATEWAY_DRAIN_SECONDS="0.1") as server:
        at_rest, fresh, rude = server.raw(), server.raw(), server.raw()
        at_rest.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert at_rest.response()[0] == 200
        assert rude.request("/cable")[0] == 101  # and will not answer the Close frame
        server.terminate()
        at_rest.receive_eof()
        assert server.workers  # for the rude one is still waited for
        fresh.receive_eof()
        assert server.wait() == 0
        assert "graceful timeout" not in server.log


def test_the_arbiter_passes_a_second_signal_on(tmp_path: Path) -> None:
    options = settings(tmp_path, "graceful_timeout = 2000")
    with LiveServer(tmp_path, *options, GATEWAY_DRAIN_SECONDS="1000") as server:
        crowd = Crowd(server, 5)
        server.terminate()
        eventually(lambda: crowd.told)
        assert len(crowd.told) < 5
        server.terminate()
        crowd.leaves()
        assert server.wait() == 0


# What waits for the broker


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_what_waits_for_redis_is_tried_once_more(
    tmp_path: Path, redis: RedisServer
) -> None:
    environ = {
        "GATEWAY_ADAPTER": "redis",
        "GATEWAY_URL": redis.url,
        "GATEWAY_ON_FAILURE": "queue",
        "GATEWAY_BROADCAST_KEY": "key",
        "GATEWAY_PUBLISH_TIMEOUT": "0.5",
    }
    for is_back in (True, False):
        with LiveServer(tmp_path, **environ) as server:
            eventually(lambda s=server: s.status() == "ok")
            redis.pause()
            for number in range(3):
                post = {"stream": "queued", "data": str(number)}
                assert server.post("/cable/broadcast", post, "key")[0] == 201
            if is_back:
                redis.resume()
            server.terminate()
            assert server.wait() == 0
            lost = "messages that waited for Redis are lost"
            assert (lost in server.log) is not is_back
    redis.resume()
    assert redis.ask("XLEN", "{queued}:log") in (3, 4)  # it hears one when it goes on
