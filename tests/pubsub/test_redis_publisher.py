"""Publishing by threads, to a Redis that hangs, says no, or has no time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cable.history import Retention, Retentions
from gateway.cable.publication import Publication
from gateway.errors import PublicationRefused, PubSubError
from gateway.pubsub.redis_publisher import Keys, RedisPublisher
from gateway.pubsub.redis_servers import servers_at
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop."""
    with RedisServer(tmp_path / "hanging") as server:
        yield server


def publisher(redis: RedisServer, timeout_s: float = 5.0) -> RedisPublisher:
    return RedisPublisher(servers_at(redis.url, timeout_s), "", Retentions(Retention()))


def log(redis: RedisServer, stream: str) -> list[str]:
    """The messages that Redis has kept."""
    kept = redis.ask("XRANGE", f"{{{stream}}}:log", "-", "+")
    return [fields["p"].rpartition("\n")[2] for _, fields in kept]


def test_names_of_channels_and_keys() -> None:
    assert Keys("chat_1", "", sharded=False).channel == b"chat_1"
    keys = Keys("chat{1}", "app", sharded=True)
    assert keys.channel == b"app:chat%7B1%7D"
    assert keys.history == [
        b"{app:chat%7B1%7D}:life",
        b"{app:chat%7B1%7D}:log",
    ]
    assert Keys("{", "", sharded=False).channel == b"{"
    names = {Keys(name, "", sharded=True).channel for name in ("{", "%7B", "%257B")}
    assert len(names) == 3


def test_threads_may_be_the_first_to_use_it(redis: RedisServer) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures: list[Exception] = []
    try:
        for _ in range(50):
            shared, gate = publisher(redis), threading.Barrier(4)

            def publish(shared=shared, gate=gate) -> None:
                gate.wait()
                try:
                    shared.publish("threads", Publication(b"1"))
                except Exception as exc:
                    failures.append(exc)

            threads = [threading.Thread(target=publish) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            shared.close()
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def test_who_waits_for_an_answer_in_vain_does_not_ask_again(
    hanging: RedisServer,
) -> None:
    """What Redis was told while it hung, it does when it goes on."""
    patient, hasty = publisher(hanging), publisher(hanging, timeout_s=0.3)
    hasty.publish("s", Publication(b"1"))
    hanging.pause()
    with pytest.raises(PubSubError, match="Timeout"):
        hasty.publish("s", Publication(b"2"), "its name")
    hanging.resume()
    patient.publish("s", Publication(b"3"))
    assert log(hanging, "s") == ["1", "2", "3"]
    hasty.publish("s", Publication(b"2"), "its name", again=True)
    assert log(hanging, "s") == ["1", "2", "3"]
    patient.close()
    hasty.close()


def test_a_turn_is_not_waited_for_for_ever(redis: RedisServer) -> None:
    late = publisher(redis, timeout_s=0.05)
    for _ in range(50):
        late.turns.take(1.0)
    with pytest.raises(PubSubError, match="in 0.05 s: 50 others wait"):
        late.publish("s", Publication(b"1"))
    late.turns.give_back()
    late.publish("s", Publication(b"1"))
    late.close()


def test_redis_says_no(redis: RedisServer) -> None:
    """For good, or only for now."""
    redis.ask("SET", "{odd}:life", "a string")
    speaker = publisher(redis)
    with pytest.raises(PublicationRefused, match="for 'odd': .*WRONGTYPE"):
        speaker.publish("odd", Publication(b"1"))
    redis.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    redis.ask("REPLICAOF", "127.0.0.1", str(redis.port))  # itself: it is no master
    try:
        with pytest.raises(PubSubError, match="read only replica") as error:
            speaker.publish("s", Publication(b"1"))
        assert not isinstance(error.value, PublicationRefused)
    finally:
        redis.ask("REPLICAOF", "NO", "ONE")
        redis.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    speaker.publish("s", Publication(b"2"))
    speaker.close()


@pytest.mark.parametrize("odd", [object(), ("a", "b")])
def test_what_is_no_message(redis: RedisServer, odd: object) -> None:
    speaker = publisher(redis)
    with pytest.raises(PublicationRefused, match="must be str, int"):
        speaker.publish("s", Publication(odd))  # type: ignore[arg-type]
    speaker.close()
