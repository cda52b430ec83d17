"""A server, its store, and how to break what lies between."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from flask import Flask
from gevent import Greenlet
from gevent.event import Event

from gateway import Channel, Connection, Gateway
from gateway.cable.history import Position, Ring
from gateway.cable.publication import Publication
from gateway.pubsub import memory
from gateway.pubsub.memory import MemoryPubSub
from gateway.pubsub.redis import RedisPubSub
from gateway.pubsub.redis_publisher import RedisPublisher
from tests.support import eventually
from tests.support.app import CableClient, Served, identify
from tests.support.redis import RedisServer

__all__ = [
    "ID",
    "KEPT",
    "FeedChannel",
    "MemoryWorld",
    "RedisWorld",
    "World",
    "played_in",
    "told",
]

EXTENDED = ("actioncable-v1-ext-json",)
KEPT = 10


class Somebody(Connection):
    """All clients are the same person, who may take up what they have left."""

    identified_by = ("name",)

    def connect(self) -> None:
        self.name = "ann"


class FeedChannel(Channel):
    gate = Event()
    """Where a subscription that has ``gate`` waits, its streams open."""

    def subscribed(self) -> None:
        for stream in self.params.get("streams", ["s"]):
            self.stream_from(stream, whisper=True, presence=True)
        if self.params.get("gate"):
            self.gate.wait(10)


ID = identify("FeedChannel")


class World(ABC):
    """What a scenario is played in. ``chance`` decides where in between a blow falls.

    ``adapter`` is its Flask configuration.
    """

    adapter: dict[str, Any]

    served: Served
    chance: random.Random

    # The store, which each adapter has of its own.

    @abstractmethod
    def flush(self, stream: str = "s", epoch: str | None = None) -> None:
        """The store forgets the stream; its next life may be known beforehand."""

    @abstractmethod
    def silenced(self) -> Any:
        """A ``with`` in which what is said is kept, but does not arrive."""

    @abstractmethod
    def has_saved(self, sid: str) -> bool:
        """Whether a session can be taken up."""

    @abstractmethod
    def forget_saved(self, sid: str) -> None:
        """Its time is over."""

    # What all do alike.

    @property
    def hub(self) -> Any:
        return self.served.cable.hub

    def say(self, *messages: Any, stream: str = "s") -> None:
        """Broadcast; returns when whoever listens here has heard it."""
        for message in messages:
            self.served.cable.broadcast(stream, message)
        listened = self.hub.streams.get(stream)
        if listened is not None:
            end = Position(**self.end(stream))
            eventually(lambda: listened.awaited is None and listened.position == end)

    def lose(self, *messages: Any, stream: str = "s") -> None:
        """The same, but it does not arrive."""
        with self.silenced():
            for message in messages:
                self.served.cable.broadcast(stream, message)

    def kept(self, stream: str = "s") -> list[Publication]:
        """What the store has."""
        recall = self.served.cable.pubsub.recall(stream)
        assert recall is not None
        return recall.kept

    def end(self, stream: str = "s") -> dict[str, Any]:
        """Where the stream stands."""
        recall = self.served.cable.pubsub.recall(stream)
        assert recall is not None
        return recall.position._asdict()

    def come(self, sid: str = "") -> CableClient:
        path = f"/cable?sid={sid}" if sid else "/cable"
        return CableClient(self.served.connect(path, subprotocols=EXTENDED))

    def subscribed(self, identifier: str = ID, **history: Any) -> CableClient:
        """A client that was welcomed, and has asked for what it missed."""
        client = self.come()
        assert client.receive()["type"] == "welcome"
        command = {"command": "subscribe", "identifier": identifier}
        client.send(**command, **({"history": history} if history else {}))
        assert client.receive()["type"] == "confirm_subscription"
        return client

    def lost_session(self) -> str:
        """The sid of a subscribed client whose connection broke."""
        client = self.come()
        sid = str(client.receive()["sid"])
        assert client.subscribe("FeedChannel") == "confirm_subscription"
        client.ws.abort()
        eventually(lambda: self.has_saved(sid))
        return sid

    def somewhere(self, least: int, most: int) -> int:
        return self.chance.randint(least, most)


class MemoryWorld(World):
    """One process."""

    adapter = {"GATEWAY_ADAPTER": "memory"}

    @property
    def store(self) -> MemoryPubSub:
        pubsub = self.served.cable.pubsub
        assert isinstance(pubsub, MemoryPubSub)
        return pubsub

    def flush(self, stream: str = "s", epoch: str | None = None) -> None:
        self.store._rings.pop(stream, None)
        if epoch is not None:
            retention = self.store.retentions.of(stream)
            self.store._rings[stream] = Ring(Position(epoch, 0), retention)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        streams, self.store._streams = self.store._streams, set()
        yield
        self.store._streams = streams

    def has_saved(self, sid: str) -> bool:
        return f"session:{sid}" in self.store._things

    def forget_saved(self, sid: str) -> None:
        _, value = self.store._things[f"session:{sid}"]
        self.store._things[f"session:{sid}"] = (memory.time() - 1, value)

    def step_clock(self, seconds: float, stream: str = "s") -> None:
        """What was said is so much older now, as the clock tells."""
        kept = self.store._ring(stream)._kept
        for index, each in enumerate(kept):
            kept[index] = each._replace(time=each.time - seconds)


class _Silent(RedisPublisher):
    """Keeps messages without publishing them."""

    command = "SET"  # type: ignore[assignment]


class RedisWorld(World):
    """A Redis of its own; ``server`` is empty in the beginning."""

    def __init__(self, server: RedisServer) -> None:
        self._redis = server
        self.adapter = {"GATEWAY_ADAPTER": "redis", "GATEWAY_URL": server.url}

    def flush(self, stream: str = "s", epoch: str | None = None) -> None:
        self._redis.ask("DEL", f"{{{stream}}}:life", f"{{{stream}}}:log")
        if epoch is not None:
            self._redis.ask("HSET", f"{{{stream}}}:life", "epoch", epoch, "offset", 0)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        pubsub = self.served.cable.pubsub
        assert isinstance(pubsub, RedisPubSub)
        loud = pubsub._publisher
        pubsub._publisher = _Silent(loud.servers, "", pubsub.retentions)
        yield
        pubsub._publisher.close()
        pubsub._publisher = loud

    def has_saved(self, sid: str) -> bool:
        return bool(self._redis.ask("EXISTS", f"gateway:session:{sid}"))

    def forget_saved(self, sid: str) -> None:
        self._redis.ask("DEL", f"gateway:session:{sid}")


def told(client: CableClient) -> list[Any]:
    """All that a client has been told by now: messages, and types of other frames."""
    client.send(command="ping")
    found: list[Any] = []
    while (frame := client.receive()).get("type") != "pong":
        found.append(frame.get("type") or frame["message"])
    return found


@contextmanager
def played_in(world: World, seed: int) -> Iterator[None]:
    """A server for a scenario. Of sockets, streams, presence and greenlets nothing may
    be left behind."""
    spawned: WeakSet[Greenlet[..., Any]] = WeakSet()
    Greenlet.add_spawn_callback(spawned.add)
    try:
        app = Flask("feeds")
        app.config.update(world.adapter, GATEWAY_HISTORY=KEPT)
        gateway = Gateway(app)
        gateway.connection(Somebody)
        gateway.channel(FeedChannel)
        FeedChannel.gate.clear()
        with Served(app) as served:
            cable = served.cable
            assert cable.hub
            world.served, world.chance = served, random.Random(seed)
            yield
            for ws in list(cable.endpoint.sockets):
                ws.abort()
            eventually(lambda: not cable.endpoint.sockets)
            eventually(lambda: not cable.hub.streams)
            eventually(lambda: not cable.hub.tracker.sessions)
            eventually(lambda: not cable.endpoint.workers.busy)
        eventually(lambda: all(greenlet.dead for greenlet in spawned))
    finally:
        Greenlet.remove_spawn_callback(spawned.add)
