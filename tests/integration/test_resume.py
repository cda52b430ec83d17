"""The unmodified npm clients get what they missed: once, in order, from any worker."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.broadcaster import Broadcaster
from tests.integration.conftest import LiveServer, Node
from tests.support import eventually
from tests.support.app import CableClient, identify
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.node, pytest.mark.process]

StartNode = Callable[..., Node]
EXTENDED = "actioncable-v1-ext-json"
APP = """
from gevent import monkey

monkey.patch_all()

import os
from flask import Flask
from gateway import Channel, Connection, Gateway

app = Flask(__name__)
gateway = Gateway(app)


@gateway.connection
class Ann(Connection):
    identified_by = ("name",)

    def connect(self):
        self.name = "ann"


@gateway.channel
class ChatChannel(Channel):
    replay_on_reconnect = 50

    def subscribed(self):
        self.stream_from(f"chat_{self.params['room_id']}")


@gateway.channel
class WhereChannel(Channel):
    def subscribed(self):
        self.stream_from("where")
        self.transmit(os.getpid())
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def workers(tmp_path: Path, redis: RedisServer, here: Path) -> Iterator[LiveServer]:
    """Two workers that share a Redis."""
    (tmp_path / "chat_app.py").write_text(APP)
    config = str(here / "config/gunicorn.py")
    with LiveServer(
        tmp_path,
        *("--chdir", str(tmp_path), "--workers", "2"),
        command=(sys.executable, "-m", "gunicorn", "chat_app:app", "-c", config),
        GATEWAY_ADAPTER="redis",
        GATEWAY_URL=redis.url,
    ) as server:
        eventually(lambda: len(server.workers) == 2)
        yield server


@pytest.fixture
def say(redis: RedisServer) -> Iterator[Callable[..., None]]:
    """Broadcasts to a room, from another program."""
    with Broadcaster.from_url(redis.url) as broadcaster:
        yield lambda room, *messages: [
            broadcaster.broadcast(f"chat_{room}", {"n": n}) for n in messages
        ]


def received(client: Node) -> list[int]:
    """The messages it got, in order."""
    found = re.findall(r"^received (.*)$", "\n".join(client.lines), re.MULTILINE)
    return [json.loads(text)["n"] for text in found]


Say = Callable[..., None]


def test_a_cut_client_is_told_what_it_missed(
    workers: LiveServer, node: StartNode, say: Say
) -> None:
    url = f"ws://127.0.0.1:{workers.port}/cable"
    clients = [node("anycable_client.mjs", url, "cut", EXTENDED) for _ in range(4)]
    for client in clients:
        client.wait_for("connected false")
    say("cut", 1, 2)
    for client in clients:
        eventually(lambda c=client: received(c) == [1, 2])
        client.say("cut")
    say("cut", *range(3, 20))
    for client in clients:
        eventually(lambda c=client: received(c) == list(range(1, 20)), 60)
    say("cut", 20)
    for client in clients:
        eventually(lambda c=client: received(c) == list(range(1, 21)), 60)


def test_a_worker_that_is_killed_loses_nothing(
    workers: LiveServer, node: StartNode, say: Say
) -> None:
    url = f"ws://127.0.0.1:{workers.port}/cable"
    clients = [node("anycable_client.mjs", url, "kill", EXTENDED) for _ in range(2)]
    for client in clients:
        client.wait_for("connected false")
    say("kill", 1)
    for client in clients:
        eventually(lambda c=client: received(c) == [1])
    for worker in workers.workers:
        worker.kill()
    say("kill", *range(2, 20))
    for client in clients:
        eventually(lambda c=client: received(c) == list(range(1, 20)), 60)


def test_rails_client_is_told_too_if_the_channel_wants(
    workers: LiveServer, redis: RedisServer, node: StartNode, say: Say
) -> None:
    url = f"ws://127.0.0.1:{workers.port}/cable"
    client = node("rails_client.mjs", url, "rails")
    client.wait_for("connected false")
    say("rails", 1)
    eventually(lambda: received(client) == [1])
    client.say("cut")
    client.wait_for("disconnected true")
    eventually(lambda: redis.ask("KEYS", "gateway:left:*rails*"))  # so has the server
    say("rails", 2, 3)
    eventually(lambda: received(client) == [1, 2, 3], 60)
    assert '"replayed":true' in client.lines[-1]


def test_a_session_is_taken_up_by_another_worker(
    workers: LiveServer, redis: RedisServer
) -> None:
    identifier, sid, seen = identify("WhereChannel"), "", set()

    def come() -> tuple[CableClient, dict[str, object]]:
        path = f"/cable?sid={sid}" if sid else "/cable"
        client = CableClient(workers.connect(path, subprotocols=(EXTENDED,)))
        return client, client.receive()

    client, welcome = come()
    client.send(command="subscribe", identifier=identifier)
    while len(seen) < 2:
        seen.add(client.message())
        sid = str(welcome["sid"])
        client.ws.close()
        eventually(partial(redis.ask, "EXISTS", f"gateway:session:{sid}"))
        client, welcome = come()
        assert welcome["restored_ids"] == [identifier]
    client.ws.close()
