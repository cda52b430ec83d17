"""Broadcasting from a program without gevent and Flask, by a real Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from gateway import control
from gateway.broadcaster import Broadcaster
from gateway.cable.history import Retention, Retentions
from gateway.errors import ConfigError, LocalError, PubSubError
from gateway.pubsub.bus import unpack
from tests.support.live import ROOT
from tests.support.redis import RedisServer

PLAIN = Retentions(Retention(0))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Ear:
    """Listens as any Redis client would."""

    def __init__(self, redis: RedisServer, *channels: str) -> None:
        self.pubsub = redis_py.Redis.from_url(redis.url).pubsub()
        self.pubsub.subscribe(*channels)
        for _ in channels:
            assert self._next()["type"] == "subscribe"

    def hear(self) -> bytes:
        return bytes(self._next()["data"])

    def _next(self) -> Any:
        got = self.pubsub.get_message(timeout=10)
        assert got is not None, "heard nothing"
        return got


def test_what_it_says_is_published(redis: RedisServer) -> None:
    ear = Ear(redis, "app:chat_1")
    with Broadcaster.from_url(redis.url, "app", retentions=PLAIN) as speaker:
        speaker.broadcast("chat_1", {"text": "hi"})
        assert ear.hear() == b'{"text":"hi"}'  # as Rails would
        speaker.broadcast("chat_1", 1, exclude="f00-7")
        assert unpack(ear.hear()).exclude == "f00-7"


def test_it_gives_offsets_as_the_gateways_do(redis: RedisServer) -> None:
    ear = Ear(redis, "offsets")
    with Broadcaster.from_url(redis.url) as speaker:
        for number in (1, 2):
            speaker.broadcast("offsets", number, exclude='f"00')
            said = unpack(ear.hear())
            assert (said.message, said.offset) == (b"%d" % number, number)
            assert said.exclude == 'f"00'
            assert said.epoch
            assert said.time > 1e9


def test_it_disconnects(redis: RedisServer) -> None:
    ear = Ear(redis, control.CONTROL)
    with Broadcaster.from_url(redis.url) as speaker:
        speaker.disconnect(user="ann", reconnect=False)
        order = control.read(unpack(ear.hear()))
        assert order == control.Disconnect({"user": "ann"}, reconnect=False)
        with pytest.raises(LocalError, match="say whom to disconnect"):
            speaker.disconnect()


def test_threads_may_share_it(redis: RedisServer) -> None:
    ear = Ear(redis, "threads")
    with Broadcaster.from_url(redis.url, retentions=PLAIN) as speaker:

        def speak(first: int) -> None:
            for number in range(first, first + 50):
                speaker.broadcast("threads", number)

        threads = [threading.Thread(target=speak, args=(n * 50,)) for n in range(4)]
        for thread in threads:
            thread.start()
        heard = [int(ear.hear()) for _ in range(200)]
        for thread in threads:
            thread.join()
    assert sorted(heard) == list(range(200))
    for n in range(4):  # each one's are in order
        own = [number for number in heard if number // 50 == n]
        assert own == sorted(own)


def test_it_needs_neither_gevent_nor_flask(redis: RedisServer) -> None:
    script = f"""
import sys
from gateway.broadcaster import Broadcaster
with Broadcaster.from_url({redis.url!r}) as speaker:
    speaker.broadcast("lean", "hello")
assert not {{"gevent", "flask", "gunicorn"}} & sys.modules.keys(), sys.modules.keys()
"""
    ear = Ear(redis, "lean")
    # Without the measuring of coverage, which imports gevent on its own.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, check=True)
    assert unpack(ear.hear()).message == b'"hello"'


def test_what_it_cannot_say(redis: RedisServer, tmp_path: Path) -> None:
    with Broadcaster.from_url(redis.url) as speaker, pytest.raises(TypeError):
        speaker.broadcast("s", object())
    with pytest.raises(ConfigError, match="write one of redis://"):
        Broadcaster.from_url("http://localhost")
    nobody = Broadcaster.from_url(f"unix://{tmp_path}/nobody")
    with pytest.raises(PubSubError, match="did not take a message for 's': .*No such"):
        nobody.broadcast("s", 1)
    nobody.close()


def test_a_redis_that_hangs_does_not_hold_it_for_ever(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis") as server,
        Broadcaster.from_url(server.url, timeout_s=0.2) as speaker,
    ):
        speaker.broadcast("s", 1)
        server.pause()
        with pytest.raises(PubSubError, match="Timeout"):
            speaker.broadcast("s", 2)
        server.resume()
        speaker.broadcast("s", 3)
