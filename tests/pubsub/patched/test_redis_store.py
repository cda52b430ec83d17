"""How long Redis keeps the place of a stream."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.crc import key_slot

from gateway.pubsub.base import PROLONG_S
from tests.pubsub.patched.conftest import Ear
from tests.support.redis import RedisCluster, RedisServer

Listen = Callable[..., Ear]

DAY_MS = 86_400_000


def left_ms(redis: RedisServer, stream: str) -> int:
    """How long its place is still kept."""
    return int(redis.ask("PTTL", f"{{{stream}}}:life"))


def test_a_place_in_which_nothing_was_said_is_kept_for_an_hour(
    redis: RedisServer, listen: Listen
) -> None:
    """Anybody can subscribe to any name."""
    pubsub = listen(redis.url).pubsub
    pubsub.recall("s")
    assert PROLONG_S * 1000 < left_ms(redis, "s") <= 3_600_000


def test_one_in_which_something_was_said_is_kept_for_a_day(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url)
    ear.pubsub.recall("s")
    ear.publish("s", b"1")
    assert 3_600_000 < left_ms(redis, "s") <= DAY_MS
    redis.ask("PEXPIRE", "{s}:life", 1000)
    ear.pubsub.recall("s")
    assert 3_600_000 < left_ms(redis, "s") <= DAY_MS


def test_a_silent_stream_keeps_its_place_while_it_is_listened_to(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url)
    ear.publish("said", b"1")
    ear.pubsub.recall("silent")
    for stream in ("said", "silent"):
        redis.ask("PEXPIRE", f"{{{stream}}}:life", 60_000)
    ear.pubsub.prolong(["said", "silent", "never seen"])
    assert 3_600_000 < left_ms(redis, "said") <= DAY_MS
    assert 60_000 < left_ms(redis, "silent") <= 3_600_000
    assert redis.ask("EXISTS", "{never seen}:life") == 0


def test_places_in_a_cluster(cluster: RedisCluster, listen: Listen) -> None:
    pubsub, streams = listen(cluster.url).pubsub, [f"s{n}" for n in range(20)]
    nodes = [cluster.owner(key_slot(name.encode())) for name in streams]
    assert len(set(nodes)) == 3
    for node, stream in zip(nodes, streams, strict=True):
        pubsub.recall(stream)
        node.ask("PEXPIRE", f"{{{stream}}}:life", 60_000)
    pubsub.prolong(streams)
    for node, stream in zip(nodes, streams, strict=True):
        assert left_ms(node, stream) > 60_000


def test_a_slot_that_has_moved_is_found(cluster: RedisCluster, listen: Listen) -> None:
    pubsub = listen(cluster.url).pubsub
    pubsub.recall("moving")
    node = cluster.migrate(key_slot(b"moving"))
    node.ask("PEXPIRE", "{moving}:life", 60_000)
    pubsub.prolong(["moving"])
    assert left_ms(node, "moving") > 60_000


def test_a_redis_that_is_away(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    pubsub = listen(redis.url).pubsub
    redis.kill()
    pubsub.prolong(["a", "b"])
    assert "listened to: 2 streams, such as 'a': redis://" in caplog.text
