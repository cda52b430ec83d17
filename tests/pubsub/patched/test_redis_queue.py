"""What is kept while Redis is away, and what becomes of it."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from gateway.cable.publication import Publication
from gateway.errors import PublicationRefused, PubSubError
from gateway.pubsub.base import Health
from tests.pubsub.patched.conftest import Ear, Listen, is_through
from tests.support import eventually
from tests.support.redis import RedisServer


def kept(redis: RedisServer, stream: str = "s") -> list[str]:
    """What Redis has in a stream's history."""
    found = redis.ask("XRANGE", f"{{{stream}}}:log", "-", "+")
    return [fields["p"].rpartition("\n")[2] for _, fields in found]


def queued(ear: Ear) -> int:
    """How much waits."""
    return ear.pubsub.health().queued


def test_messages_are_kept_and_sent_in_order(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url, on_failure="queue", max_queued=5)
    ear.subscribe("s")
    redis.kill()
    eventually(lambda: not ear.pubsub.health().up)
    numbers = [b"%d" % number for number in range(5)]
    ear.publish("s", *numbers)
    assert queued(ear) == 5
    with pytest.raises(PubSubError, match="5 messages wait for it already"):
        ear.publish("s", b"too many")
    # Later ones must not overtake those, so hold the queue until somebody listens.
    redis.start()
    other = listen(redis.url)
    eventually(lambda: ear.pubsub.health() == Health(up=True, reconnects=1))
    recall = other.pubsub.recall("s")
    assert recall is not None
    assert [each.message for each in recall.kept] == numbers
    eventually(lambda: is_through(ear))


def test_what_redis_had_when_it_hung_is_heard_once(
    redis: RedisServer, listen: Listen
) -> None:
    """It does all that it was told, and that was more than once."""
    ear = listen(redis.url, on_failure="queue")
    ear.subscribe("s")
    gevent.joinall([gevent.spawn(ear.publish, f"warm{n}", b"0") for n in range(10)])
    redis.pause()
    ear.publish("s", b"1", b"2", b"3")
    publisher, attempts = ear.pubsub._publisher, []
    publish = publisher.publish
    publisher.publish = lambda *a, **o: attempts.append(1) or publish(*a, **o)
    eventually(lambda: len(attempts) >= 3)
    redis.resume()
    eventually(lambda: queued(ear) == 0)
    assert kept(redis) == ["1", "2", "3"]
    eventually(lambda: ("s", b"3") in ear.heard)
    assert len(ear.heard) == len(set(ear.heard))


def test_what_redis_refuses_is_not_kept(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url, on_failure="queue")
    redis.ask("SET", "{odd}:life", "a string")
    with pytest.raises(PublicationRefused, match="WRONGTYPE"):
        ear.publish("odd", b"1")
    assert queued(ear) == 0


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        (Publication(object()), "lost, for it will never be taken: "),  # type: ignore[arg-type]
        (Publication(b"1", exclude=object()), "lost: a message for 'odd'"),  # type: ignore[arg-type]
    ],
    ids=["Redis", "we"],
)
def test_what_can_never_be_sent_holds_up_nobody(
    redis: RedisServer,
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
    odd: Publication,
    sentence: str,
) -> None:
    ear = listen(redis.url, on_failure="queue")
    redis.kill()
    ear.publish("s", b"1")
    ear.pubsub.publish("odd", odd)
    ear.publish("s", b"2")
    assert queued(ear) == 3
    redis.start()
    eventually(lambda: queued(ear) == 0)
    assert kept(redis) == ["1", "2"]
    assert sentence in caplog.text


def test_it_can_be_used_after_it_was_empty(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url, on_failure="queue")
    for number in range(3):
        redis.kill()
        ear.publish(f"s{number}", b"1")
        redis.start()
        eventually(lambda: queued(ear) == 0)
        assert kept(redis, f"s{number}") == ["1"]


def test_what_waits_when_it_ends_is_tried_once_more(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(redis.url, on_failure="queue")
    redis.pause()
    ear.publish("s", b"1", b"2")
    closing: Any = gevent.spawn(ear.pubsub.close)
    redis.resume()
    closing.get(timeout=10)
    assert kept(redis) == ["1", "2"]
    assert "lost" not in caplog.text


def test_what_is_lost_when_it_ends_is_said(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(redis.url, on_failure="queue")
    redis.kill()
    ear.publish("s", b"1", b"2")
    assert queued(ear) == 2
    ear.pubsub.close()
    assert "2 messages that waited for Redis are lost" in caplog.text
