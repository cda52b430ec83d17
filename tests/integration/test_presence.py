"""Presence and whispers with the unmodified npm client, on two workers with Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import LiveServer, Node
from tests.support import eventually
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.node, pytest.mark.process]

StartNode = Callable[..., Node]
APP = """
from gevent import monkey

monkey.patch_all()

import os
from flask import Flask
from gateway import Channel, Gateway, server
from gateway.cable import presence

presence.LINGER_S = float(os.environ["LINGER_S"])
server.TOUCH_S = 0.3

app = Flask(__name__)
gateway = Gateway(app)


@gateway.channel
class RoomChannel(Channel):
    def subscribed(self):
        room = f"room_{self.params['room_id']}"
        self.stream_from(room, whisper=True, presence=True)
        self.transmit({"worker": os.getpid()})
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def linger_s(request: pytest.FixtureRequest) -> float:
    """How long a session stays that is not heard of."""
    return float(getattr(request, "param", 60.0))


@pytest.fixture
def workers(
    tmp_path: Path, redis: RedisServer, here: Path, linger_s: float
) -> Iterator[LiveServer]:
    """Two workers that share a Redis."""
    redis.ask("FLUSHALL")
    (tmp_path / "room_app.py").write_text(APP)
    config = str(here / "config/gunicorn.py")
    with LiveServer(
        tmp_path,
        *("--chdir", str(tmp_path), "--workers", "2"),
        command=(sys.executable, "-m", "gunicorn", "room_app:app", "-c", config),
        GATEWAY_ADAPTER="redis",
        GATEWAY_URL=redis.url,
        LINGER_S=str(linger_s),
    ) as server:
        eventually(lambda: len(server.workers) == 2)
        yield server


class Tab:
    """A browser's tab in a room."""

    def __init__(self, node: Node) -> None:
        self.node = node
        node.wait_for("connected false")
        self.worker = int(self.matches(r"received .*worker\":(\d+)")[0])

    def say(self, line: str) -> None:
        self.node.say(line)

    def matches(self, pattern: str) -> list[str]:
        return re.findall(pattern, "\n".join(self.node.lines))

    @property
    def seen(self) -> list[str]:
        """Who came and went."""
        return self.matches(r"(?m)^(?:join|leave) .*$")

    def present(self) -> dict[str, object]:
        """Who is present, as it knows."""
        before = len(self.matches("present "))
        self.say("info")
        eventually(lambda: len(self.matches("(?m)^present .*$")) > before)
        found: dict[str, object] = json.loads(self.matches("(?m)^present (.*)$")[-1])
        return found


@pytest.fixture
def tabs(workers: LiveServer, node: StartNode) -> tuple[Tab, Tab]:
    """Two, on different workers."""
    url = f"ws://127.0.0.1:{workers.port}/cable"
    first = Tab(node("presence_client.mjs", url, "1"))
    while True:
        second = Tab(node("presence_client.mjs", url, "1"))
        if second.worker != first.worker:
            return first, second
        second.node.stop()


def test_who_comes_and_goes_is_seen_on_every_worker(tabs: tuple[Tab, Tab]) -> None:
    here, there = tabs
    here.say("join ann")
    for tab in tabs:
        eventually(lambda t=tab: t.seen == ["join ann"])
    assert there.present() == {"ann": {"name": "ann"}}
    there.say("join bob")
    here.say("leave")
    for tab in tabs:
        eventually(
            lambda t=tab: sorted(t.seen) == ["join ann", "join bob", "leave ann"]
        )
    assert there.present() == {"bob": {"name": "bob"}}


@pytest.mark.parametrize("linger_s", [1.5], indirect=True)
def test_who_is_lost_with_its_worker_goes(
    workers: LiveServer, tabs: tuple[Tab, Tab]
) -> None:
    here, there = tabs
    here.say("join ann")
    eventually(lambda: there.seen == ["join ann"])
    here.node.process.kill()
    os.kill(here.worker, signal.SIGKILL)
    eventually(lambda: there.seen == ["join ann", "leave ann"])
    assert there.present() == {}


def test_who_comes_back_from_a_worker_that_died_has_never_been_away(
    workers: LiveServer, redis: RedisServer, tabs: tuple[Tab, Tab]
) -> None:
    here, there = tabs
    here.say("join ann")
    eventually(lambda: there.seen == ["join ann"])
    os.kill(here.worker, signal.SIGKILL)
    here.node.wait_for("connected true")
    sessions = "{room_1}:sessions"
    eventually(lambda: redis.ask("ZCARD", sessions) == 2)  # the lost one, and the new
    here.say("leave")
    eventually(lambda: redis.ask("ZCARD", sessions) == 1)
    assert there.seen == ["join ann"]
    assert there.present() == {"ann": {"name": "ann"}}  # the lost one lingers


def test_whispers_reach_the_others_on_every_worker(tabs: tuple[Tab, Tab]) -> None:
    here, there = tabs
    here.say("whisper psst")
    eventually(lambda: 'received {"says":"psst"}' in there.node.lines)
    there.say("whisper what?")
    eventually(lambda: 'received {"says":"what?"}' in here.node.lines)
    assert 'received {"says":"psst"}' not in here.node.lines
