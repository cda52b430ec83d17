"""A message whose answer was lost is heard once: Redis knows that it has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent import socket
from gevent.server import StreamServer

from gateway.broadcaster import Broadcaster
from gateway.cable.history import Retention, Retentions
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.redis_publisher import RedisPublisher
from gateway.pubsub.redis_servers import servers_at
from tests.pubsub.patched.conftest import Ear
from tests.support import eventually
from tests.support.redis import RedisServer

Listen = Callable[..., Ear]


class Thief:
    """Stands before Redis; steals answers, and cuts the connection instead."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.thefts: list[Callable[[], object]] = []
        """One for each answer to steal: what happens between theft and cut."""
        self.server = StreamServer(("127.0.0.1", 0), self._serve)
        self.server.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.server_port}/0"

    def _serve(self, client: socket.socket, address: object) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as redis:
            asking = gevent.spawn(self._pass_on, client, redis)
            while answer := redis.recv(65536):
                if self.thefts:
                    self.thefts.pop(0)()
                    break
                client.sendall(answer)
            asking.kill()
            client.close()

    @staticmethod
    def _pass_on(client: socket.socket, redis: socket.socket) -> None:
        while question := client.recv(65536):
            redis.sendall(question)


def nothing() -> None:
    """Nothing happens meanwhile."""


@pytest.fixture
def thief(redis: RedisServer) -> Iterator[Thief]:
    thief = Thief(redis.port)
    yield thief
    thief.server.stop(timeout=1)


@pytest.fixture
def broadcaster(thief: Thief) -> Iterator[Broadcaster]:
    with Broadcaster.from_url(thief.url) as made:
        made.broadcast("s", 0)  # it is connected, and Redis knows the script
        yield made


def kept(ear: Ear) -> list[tuple[int, bytes]]:
    """What Redis has kept, under its offsets."""
    recall = ear.pubsub.recall("s")
    assert recall is not None
    return [(each.offset, each.message) for each in recall.kept]


def test_an_answer_is_lost(
    redis: RedisServer, listen: Listen, thief: Thief, broadcaster: Broadcaster
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    thief.thefts.append(nothing)
    broadcaster.broadcast("s", 1)
    assert thief.thefts == []
    broadcaster.broadcast("s", 2)
    eventually(lambda: ("s", b"2") in ear.heard)
    assert ear.heard == [("s", b"1"), ("s", b"2")]
    assert kept(ear) == [(1, b"0"), (2, b"1"), (3, b"2")]


def test_others_have_published_meanwhile(
    redis: RedisServer, listen: Listen, thief: Thief, broadcaster: Broadcaster
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    others = [b'"other"'] * 98  # so far does the history reach
    thief.thefts.append(lambda: ear.publish("s", *others))
    broadcaster.broadcast("s", 1)
    eventually(lambda: len(ear.heard) >= 99)
    assert ear.heard.count(("s", b"1")) == 1
    broadcaster.broadcast("s", 2)
    assert kept(ear)[-1] == (101, b"2")


def test_the_same_again_is_no_repetition(
    redis: RedisServer, listen: Listen, broadcaster: Broadcaster
) -> None:
    """What is said twice is heard twice."""
    ear = listen(redis.url)
    broadcaster.broadcast("s", 1)
    broadcaster.broadcast("s", 1)
    assert kept(ear) == [(1, b"0"), (2, b"1"), (3, b"1")]


def test_redis_did_not_get_it(
    redis: RedisServer, listen: Listen, thief: Thief, broadcaster: Broadcaster
) -> None:
    """Or has lost it since, with everything else."""
    ear = listen(redis.url)
    thief.thefts.append(lambda: redis.ask("FLUSHALL"))
    broadcaster.broadcast("s", 1)
    assert kept(ear) == [(1, b"1")]


def test_without_a_history_nobody_knows(
    redis: RedisServer, listen: Listen, thief: Thief
) -> None:
    none = Retentions(Retention(messages=0))
    ear = listen(redis.url)
    ear.subscribe("s")
    publisher = RedisPublisher(servers_at(thief.url, 1.0), "", none)
    publisher.publish("s", Publication(b"0"))
    thief.thefts.append(nothing)
    publisher.publish("s", Publication(b"1"))
    eventually(lambda: ear.heard == [("s", b"0"), ("s", b"1"), ("s", b"1")])
    publisher.close()


def test_whoever_gave_up_may_try_again(
    redis: RedisServer, listen: Listen, thief: Thief
) -> None:
    ear = listen(redis.url)
    publisher = RedisPublisher(servers_at(thief.url, 1.0), "", Retentions(Retention()))
    publisher.publish("s", Publication(b"0"))
    thief.thefts += [nothing, nothing]
    with pytest.raises(PubSubError, match="did not take a message for 's'"):
        publisher.publish("s", Publication(b"1"), "its name")
    publisher.publish("s", Publication(b"1"), "its name", again=True)
    assert kept(ear) == [(1, b"0"), (2, b"1")]
    publisher.close()
