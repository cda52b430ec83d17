"""Hub, adapter and sockets joined: what one sees of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from gateway import Channel, Gateway, action
from gateway.cable.connection import Connection
from gateway.pubsub import memory
from gateway.server import CableServer
from tests.support import eventually
from tests.support.app import CableClient, Served, identify

EXTENDED = ("actioncable-v1-ext-json",)
ROOM, PRICES = identify("RoomChannel"), identify("PricesChannel")


class RoomChannel(Channel):
    def subscribed(self) -> None:
        latest = bool(self.params.get("latest"))
        self.stream_from("room", latest=latest, whisper=True)

    @action
    def tell_others(self, data: dict[str, Any]) -> None:
        server.broadcast("room", data["text"], exclude=self.connection)


class PricesChannel(Channel):
    def subscribed(self) -> None:
        self.stream_from("prices", max_rate=1000, conflate="latest")


server: CableServer


@pytest.fixture
def served() -> Iterator[Served]:
    global server
    app = Flask("rooms")
    gateway = Gateway(app)
    gateway.channel(RoomChannel)
    gateway.channel(PricesChannel)
    with Served(app) as running:
        server = running.cable
        yield running


def come(served: Served) -> CableClient:
    """A client that knows where its streams are."""
    client = CableClient(served.connect(subprotocols=EXTENDED))
    assert client.receive()["type"] == "welcome"
    return client


def subscribe(client: CableClient, identifier: str = ROOM, **command: Any) -> Any:
    """Subscribe; returns the confirmation."""
    client.send(command="subscribe", identifier=identifier, **command)
    confirmation = client.receive()
    assert confirmation["type"] == "confirm_subscription"
    return confirmation


def test_who_is_left_out_is_left_out_of_the_past_as_well(served: Served) -> None:
    ann, bob = come(served), come(served)
    start = subscribe(ann)["streams"]
    subscribe(bob)
    ann.perform(ROOM, action="tell_others", text="hello")
    assert bob.message() == "hello"
    served.cable.broadcast("room", "to all")
    assert bob.message() == ann.message() == "to all"
    for client, told in ((ann, ["to all"]), (bob, ["hello", "to all"])):
        client.send(command="history", identifier=ROOM, history={"streams": start})
        assert [client.message() for _ in told] == told
        assert client.receive()["type"] == "confirm_history"


def test_connections_of_other_processes_are_nobody_here(served: Served) -> None:
    server = served.cable
    assert server._name_here(f"{server.token}-12") == "12"
    assert server._name_here(f"{server.token}--3") == "-3"  # an event stream
    assert server._name_here("another-12") == ""


def test_what_is_kept_of_a_stream(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = memory.time()
    for age, text in ((30, "old"), (20, "older than new"), (0, "new")):
        monkeypatch.setattr(memory, "time", lambda age=age: now - age)
        served.cable.broadcast("room", text)
    history = served.cable.history
    assert history("room") == ["old", "older than new", "new"]
    assert history("room", limit=2) == ["older than new", "new"]
    assert history("room", limit=10) == history("room")
    assert history("room", limit=0) == []
    assert history("room", since=now - 25) == ["older than new", "new"]
    assert history("nothing was said here") == []


def test_what_is_conflated_is_counted(served: Served) -> None:
    """Once for each reader, whoever conflates: the feed here, else a slow outbox."""
    readers = [come(served) for _ in range(3)]
    for reader in readers:
        subscribe(reader, PRICES)
    before = served.cable.statistics().conflated  # outboxes' are this process's
    for number in range(10):
        served.cable.broadcast("prices", number)
    assert [reader.message() for reader in readers] == [0] * 3
    assert [reader.message() for reader in readers] == [9] * 3
    assert served.cable.statistics().conflated - before == 8 * 3


def test_the_value_of_now_is_not_what_somebody_whispered(served: Served) -> None:
    whisperer, other = come(served), come(served)
    subscribe(whisperer)
    subscribe(other)
    served.cable.broadcast("room", "value")
    whisperer.send(command="whisper", identifier=ROOM, data="psst")
    assert [other.message(), other.message()] == ["value", "psst"]
    client = come(served)
    subscribe(client, identify("RoomChannel", latest=True))
    assert client.message() == "value"


def test_clients_come_and_go(served: Served) -> None:
    client = come(served)
    subscribe(client)
    (session,) = served.cable.sessions()
    assert isinstance(session.connection, Connection)
    figures = served.cable.statistics()
    assert (figures.sockets, figures.opened, figures.streams) == (1, 1, 1)
    client.ws.close()
    eventually(lambda: not served.cable.statistics().sockets)
    assert served.cable.statistics().closed == {"closed_by_peer": 1}
