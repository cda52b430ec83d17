"""These tests need gevent's patches: ``pytest -p tests.support.patched tests/...``

In a process without them there is nothing to collect here; test_patched.py sees to it
that they run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import monkey

from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.redis import RedisPubSub
from tests.support.redis import RedisCluster, RedisServer

if not monkey.is_module_patched("socket"):
    collect_ignore_glob = ["test_*.py"]


class Ear:
    """An adapter that is impatient, and what it says."""

    def __init__(self, url: str, **options: Any) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.resumed: list[str] = []
        self.pubsub = RedisPubSub(url, **{"timeout_s": 0.5, **options})
        self.pubsub.start(self._deliver, self.resumed.extend)

    def subscribe(self, *streams: str) -> None:
        for stream in streams:
            self.pubsub.subscribe(stream)

    def publish(self, stream: str, *messages: bytes) -> None:
        for message in messages:
            self.pubsub.publish(stream, Publication(message))

    def _deliver(self, stream: str, said: Publication) -> None:
        self.heard.append((stream, said.message))


Listen = Callable[..., Ear]


def is_through(ear: Ear, stream: str = "s") -> bool:
    """Whether a message published now is heard now."""
    ear.heard.clear()
    try:
        ear.publish(stream, b'"through?"')
    except PubSubError:
        return False
    with gevent.Timeout(0.2, False):
        while (stream, b'"through?"') not in ear.heard:
            gevent.sleep(0.001)
        return True
    return False


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Makes adapters, and closes them."""
    ears: list[Ear] = []

    def make(url: str, **options: Any) -> Ear:
        ears.append(Ear(url, **options))
        return ears[-1]

    yield make
    for ear in ears:
        ear.pubsub.close()
