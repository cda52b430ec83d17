"""Presence in Redis, when Redis fails for some streams, or has lost its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from gateway.cable import presence
from gateway.cable.channel import Channel
from gateway.cable.hub import Hub
from gateway.clock import LoopClock
from gateway.pubsub.redis import RedisPubSub
from gateway.websocket.workers import Workers
from tests.cable.conftest import Audience, Client, identify
from tests.pubsub.patched.conftest import Ear
from tests.support import eventually
from tests.support.redis import RedisCluster, RedisServer

Listen = Callable[..., Ear]


def until(redis: RedisServer, stream: str, session: str) -> float:
    """When a session ends unless it is touched, in ms."""
    return float(redis.ask("ZSCORE", f"{{{stream}}}:sessions", session))


def test_a_stream_that_redis_cannot_touch_harms_no_other(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    pubsub = listen(redis.url).pubsub
    for stream in ("a", "b"):
        pubsub.join(stream, "ann", "tab", None)
    redis.ask("SET", "{a}:sessions", "something else")
    before = until(redis, "b", "tab")

    def touched() -> bool:
        pubsub.touch({"a": ["tab"], "b": ["tab"]})
        return until(redis, "b", "tab") > before

    eventually(touched)
    assert "who is still there: 1 streams, such as 'a': " in caplog.text
    assert "WRONGTYPE" in caplog.text


def test_a_redis_that_is_away_is_told_later(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    pubsub = listen(redis.url).pubsub
    pubsub.join("s", "ann", "tab", None)
    redis.kill()
    assert pubsub.touch({"s": ["tab"]}) == {}
    assert "who is still there: 1 streams, such as 's': redis://" in caplog.text
    redis.start()
    assert pubsub.touch({"s": ["tab"]}) == {"s": ["tab"]}  # its memory is gone


def test_a_redis_that_forgot_its_scripts(redis: RedisServer, listen: Listen) -> None:
    pubsub = listen(redis.url).pubsub
    pubsub.join("s", "ann", "tab", None)
    redis.ask("SCRIPT", "FLUSH")
    assert pubsub.touch({"s": ["tab"], "t": ["never came"]}) == {"t": ["never came"]}


def test_a_node_that_is_away_harms_no_other(
    cluster: RedisCluster, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    pubsub = listen(cluster.url).pubsub
    lost = cluster.owner(key_slot(b"s"))
    other = next(
        name for name in "abcdef" if cluster.owner(key_slot(name.encode())) is not lost
    )
    for stream in ("s", other):
        pubsub.join(stream, "ann", "tab", None)
    node = cluster.owner(key_slot(other.encode()))
    before = until(node, other, "tab")
    lost.pause()  # the cluster does not know yet
    try:
        pubsub.touch({"s": ["tab"], other: ["tab"]})
    finally:
        lost.resume()
    assert until(node, other, "tab") > before
    assert "who is still there: 1 streams, such as 's': redis+cluster://" in caplog.text


def test_a_cluster_that_is_away_is_told_later(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    pubsub = listen(f"redis+cluster://{redis.address}").pubsub
    assert pubsub.touch({"s": ["tab"]}) == {}
    assert "who is still there: 1 streams, such as 's': Redis Cluster" in caplog.text


# What processes make of it.


class Room(Channel):
    def subscribed(self) -> None:
        self.stream_from("s", presence=True)


ROOM = identify("Room")


class Process:
    """What a worker has of presence, and one client; rounds are up to the test."""

    def __init__(self, url: str) -> None:
        self.pubsub = RedisPubSub(url)
        self._workers = Workers()
        self.hub = Hub(
            self.pubsub,
            Audience,
            LoopClock(),
            self.pubsub.retentions,
            self._workers.run,
        )
        self.pubsub.start(self.hub.deliver, self.hub.resume)
        self.client = Client(self.hub, {"Room": Room})
        self.client.wire.extended = True
        self.client.subscribe("Room")
        self.told: list[str] = []

    def join(self, member: str) -> None:
        about = {"id": member}
        self.hear(self.client.say(command="join", identifier=ROOM, presence=about))

    def round(self) -> None:
        self.hub.tracker.touch()

    def has_heard(self, *events: str) -> bool:
        """Whether its client has been told this by now, all of it, in this order."""
        self.hear(self.client.wire.take())
        return self.told == list(events)

    def hear(self, frames: list[Any]) -> None:
        events = [frame["message"] for frame in frames if frame["type"] == "presence"]
        self.told += [f"{event['type']} {event['id']}" for event in events]

    def close(self) -> None:
        self.pubsub.close()
        self._workers.stop(timeout=1)


@pytest.fixture
def processes(redis: RedisServer) -> Iterator[tuple[Process, Process]]:
    """Two, each of which knows by now that nobody is present."""
    both = Process(redis.url), Process(redis.url)
    for process in (*both, *both):
        process.round()
    yield both
    for process in both:
        process.close()


def test_a_redis_that_has_lost_its_memory_learns_anew(
    redis: RedisServer, processes: tuple[Process, Process]
) -> None:
    here, there = processes
    here.join("ann")
    eventually(lambda: there.has_heard("join ann"))
    redis.ask("FLUSHALL")
    assert there.pubsub.present("s") == {}
    here.round()
    assert there.pubsub.present("s") == {"ann": None}
    there.join("bob")
    eventually(lambda: there.has_heard("join ann", "join bob"))


def test_a_process_that_was_stopped_for_long_is_there_again(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = processes
    monkeypatch.setattr(presence, "LINGER_S", 0.2)
    here.join("ann")

    def is_gone() -> bool:
        there.round()
        return there.has_heard("join ann", "leave ann")

    eventually(is_gone)
    here.round()
    eventually(lambda: there.has_heard("join ann", "leave ann", "join ann"))
    assert here.pubsub.present("s") == {"ann": None}


def test_a_process_that_was_cut_off_is_told_what_it_missed(
    redis: RedisServer, processes: tuple[Process, Process]
) -> None:
    here, there = processes
    here.join("ann")
    eventually(lambda: there.has_heard("join ann"))
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    here.join("bob")
    eventually(lambda: there.pubsub.health().reconnects == 1)

    def is_told() -> bool:
        there.round()
        return there.has_heard("join ann", "leave ann", "join bob")

    eventually(is_told)


def test_a_redis_that_was_started_anew_takes_nobody_away(
    redis: RedisServer, processes: tuple[Process, Process]
) -> None:
    here, there = processes
    here.join("ann")
    eventually(lambda: there.has_heard("join ann"))
    redis.kill()
    redis.start()
    for process in processes:
        eventually(lambda p=process: p.pubsub.health().reconnects == 1)

    def is_present() -> bool:
        for process in processes:
            process.round()
        return there.pubsub.present("s") == {"ann": None}

    eventually(is_present)
    there.join("bob")
    eventually(lambda: there.has_heard("join ann", "join bob"))
