"""What is said in one process is done in every other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from flask import Flask

from tests.support import eventually
from tests.support.app import CableClient, identify
from tests.support.live import LiveServer
from tests.support.redis import RedisServer

pytestmark = pytest.mark.process

SECRET = "shared by all processes"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """The demo on two workers."""
    environ = {
        "GATEWAY_ADAPTER": "redis",
        "GATEWAY_URL": redis.url,
        "GATEWAY_DRAIN_SECONDS": "0",
        "SECRET_KEY": SECRET,
    }
    with LiveServer(
        tmp_path_factory.mktemp("live"), "--workers", "2", **environ
    ) as running:
        yield running


def client(server: LiveServer, name: str) -> CableClient:
    """Somebody with this name in the session."""
    app = Flask("tests.cookies")
    app.secret_key = SECRET
    interface = app.session_interface
    serializer = interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    cookie = {"Cookie": f"session={serializer.dumps({'name': name})}"}
    client = CableClient(server.connect("/cable", headers=cookie))
    assert client.receive() == {"type": "welcome"}
    return client


def say_elsewhere(redis: RedisServer, call: str) -> None:
    """Let a process of its own, which has no clients, call a gateway's method."""
    program = f"""
from gevent import monkey; monkey.patch_all()
from flask import Flask
from gateway import Gateway

app = Flask("elsewhere")
app.config.update(GATEWAY_ADAPTER="redis", GATEWAY_URL={redis.url!r})
gateway = Gateway(app)
{call}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def homes(server: LiveServer) -> int:
    """How many workers hold sockets of clients."""
    return sum(
        any(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port == server.port
            for each in worker.net_connections("tcp")
        )
        for worker in server.workers
    )


def clients_everywhere(server: LiveServer) -> list[CableClient]:
    """Clients called ann, of every worker."""
    eventually(lambda: len(server.workers) == 2)
    clients = [client(server, "ann")]
    while homes(server) < 2:
        assert len(clients) < 30, "all clients came to one worker"
        clients.append(client(server, "ann"))
    return clients


def test_what_is_broadcast_is_heard_in_every_process(
    redis: RedisServer, server: LiveServer
) -> None:
    clients = clients_everywhere(server)
    for each in clients:
        assert each.subscribe("ChatChannel", room_id=1) == "confirm_subscription"
    say_elsewhere(redis, "gateway.broadcast('chat_1', 'from elsewhere')")
    assert [each.message() for each in clients] == ["from elsewhere"] * len(clients)
    for each in clients:
        each.ws.close()
    eventually(lambda: homes(server) == 0)


def test_clients_are_sent_away_from_every_process(
    redis: RedisServer, server: LiveServer
) -> None:
    anns, bob = clients_everywhere(server), client(server, "bob")
    say_elsewhere(redis, "gateway.disconnect(current_user='ann', reconnect=False)")
    for ann in anns:
        assert ann.receive() == {
            "type": "disconnect",
            "reason": "remote",
            "reconnect": False,
        }
    assert bob.subscribe("EchoChannel") == "confirm_subscription"
    bob.perform(identify("EchoChannel"), action="echo", text="still here")
    assert bob.message() == {"text": "still here"}
    bob.ws.close()
