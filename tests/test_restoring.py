"""A lost connection is taken up again: by its owner, once, in time; by nobody else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from gateway import Channel, Connection, Gateway, server
from gateway.cable import recovery
from gateway.errors import PubSubError
from gateway.pubsub import memory
from gateway.pubsub.memory import MemoryPubSub
from gateway.websocket import WebSocket
from gateway.websocket.origins import Origins
from tests.support import eventually
from tests.support.app import CableClient, Served, identify

EXTENDED = ("actioncable-v1-ext-json",)
ROOM = identify("RoomChannel", n=1)


class Person(Connection):
    """Somebody with a name, as the session says; or, until told otherwise, nobody."""

    identified_by = ("name",)
    banned: set[str] = set()

    def connect(self) -> None:
        self.name = self.session.get("name")
        if self.name in self.banned:
            self.reject()


class RoomChannel(Channel):
    def subscribed(self) -> None:
        if self.params["n"] in closed_rooms:
            self.reject()
        self.stream_from(f"room_{self.params['n']}", presence=True)


closed_rooms: set[int] = set()


@pytest.fixture
def served() -> Iterator[Served]:
    Person.banned.clear()
    closed_rooms.clear()
    app = Flask("rooms")
    app.secret_key = "secret"
    gateway = Gateway(app)
    gateway.connection(Person)
    gateway.channel(RoomChannel)
    with Served(app) as running:
        yield running


def come(
    served: Served, name: str | None = None, sid: str = "", **headers: str
) -> CableClient:
    """Connect, as ``name``, with the ``sid`` of a connection before."""
    if name:
        headers |= served.cookie({"name": name})
    path = f"/cable?sid={sid}" if sid else "/cable"
    ws = served.connect(path, subprotocols=EXTENDED, headers=headers)
    return CableClient(ws)


def lose(served: Served, client: CableClient) -> None:
    """The connection breaks, and the server has seen it."""
    before = len(served.cable.endpoint.sockets)
    client.ws.abort()
    eventually(lambda: len(served.cable.endpoint.sockets) == before - 1)
    eventually(lambda: served.cable.pubsub._things)  # type: ignore[attr-defined]


def things(served: Served) -> dict[str, Any]:
    """What the broker keeps under a key."""
    assert isinstance(served.cable.pubsub, MemoryPubSub)
    return served.cable.pubsub._things


def say(served: Served, *messages: Any) -> None:
    for message in messages:
        served.cable.broadcast("room_1", message)


@pytest.fixture
def lost(served: Served) -> str:
    """The sid of Ann's lost connection to a room."""
    client = come(served, "ann")
    sid = client.receive()["sid"]
    assert client.subscribe("RoomChannel", n=1) == "confirm_subscription"
    lose(served, client)
    return str(sid)


def is_restored(welcome: Any) -> bool:
    assert welcome["type"] == "welcome"
    return "restored" in welcome


def test_its_owner_takes_it_up_and_is_told_what_came_meanwhile(served: Served) -> None:
    client = come(served, "ann")
    sid = client.receive()["sid"]
    client.subscribe("RoomChannel", n=1)
    say(served, "first")
    seen = client.receive()
    lose(served, client)
    say(served, "second", "third")
    client = come(served, "ann", sid)
    welcome = client.receive()
    assert welcome["restored_ids"] == [ROOM]
    assert welcome["sid"] != sid
    say(served, "fourth")
    place = {"epoch": seen["epoch"], "offset": seen["offset"]}
    streams = {"streams": {"room_1": place}}
    client.send(command="history", identifier=ROOM, history=streams)
    assert [client.message() for _ in range(3)] == ["second", "third", "fourth"]
    assert client.receive()["type"] == "confirm_history"
    say(served, "fifth")
    assert client.message() == "fifth"
    client.ws.close()


def test_a_sid_is_worth_one_use(served: Served, lost: str) -> None:
    first, second = come(served, "ann", lost), come(served, "ann", lost)
    restored = [is_restored(client.receive()) for client in (first, second)]
    assert sorted(restored) == [False, True]


def test_the_header_does_as_well(served: Served, lost: str) -> None:
    headers = {**served.cookie({"name": "ann"}), "X-Anycable-Restore-Sid": lost}
    client = CableClient(served.connect(subprotocols=EXTENDED, headers=headers))
    assert is_restored(client.receive())


@pytest.mark.parametrize("thief", ["bob", None])
def test_a_stolen_sid_is_worth_nothing(
    served: Served, lost: str, thief: str | None
) -> None:
    client = come(served, thief, lost)
    assert not is_restored(client.receive())
    say(served, "for Ann")
    client.send(command="history", identifier=ROOM, history={"since": 0})
    client.send(command="ping")
    assert client.receive() == {"type": "pong"}


def test_it_belongs_to_the_page_that_it_began_on(served: Served) -> None:
    """A page of another origin has the same cookies, and may have seen the address."""
    pages = [f"http://127.0.0.1:{served.port}", "http://elsewhere.test"]
    served.cable.origins = Origins(["*"])
    for page, is_same in zip(pages, (True, False), strict=True):
        client = come(served, "ann", Origin=pages[0])
        sid = client.receive()["sid"]
        client.subscribe("RoomChannel", n=1)
        lose(served, client)
        client = come(served, "ann", sid, Origin=page)
        assert is_restored(client.receive()) is is_same
        client.ws.close()


def test_who_is_nobody_has_nothing_that_could_be_stolen(served: Served) -> None:
    client = come(served)
    sid = client.receive()["sid"]
    client.subscribe("RoomChannel", n=1)
    client.ws.abort()
    eventually(lambda: not served.cable.endpoint.sockets)
    assert f"session:{sid}" not in things(served)
    assert not is_restored(come(served, None, sid).receive())


def test_what_another_version_has_saved_is_left_alone(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    old = b'{"identifiers":{"name":"ann"},"subscriptions":["x"]}'
    served.cable.pubsub.keep("session:old", old, 60)
    with caplog.at_level(logging.INFO, "gateway.cable"):
        assert not is_restored(come(served, "ann", "old").receive())
    assert "not resumed" in caplog.text


def test_who_does_not_say_in_time_where_it_was_must_think_of_a_gap(
    served: Served, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_EXPECTED_S", 0.01)
    client = come(served, "ann", lost)
    assert is_restored(client.receive())
    assert client.receive()["type"] == "reject_history"
    say(served, "live")
    assert client.message() == "live"


@pytest.mark.parametrize(
    "sid", ["forged", "%00", "x" * 4000, "../session", "%F0%9F%92%AC"]
)
def test_a_forged_sid_is_no_error(served: Served, sid: str) -> None:
    client = come(served, "ann", sid)
    assert not is_restored(client.receive())
    assert client.subscribe("RoomChannel", n=1) == "confirm_subscription"


def test_who_may_not_come_any_longer_is_not_let_in(served: Served, lost: str) -> None:
    Person.banned.add("ann")
    client = come(served, "ann", lost)
    assert client.receive()["reason"] == "unauthorized"


def test_what_may_not_be_heard_any_longer_is_not_restored(
    served: Served, lost: str
) -> None:
    closed_rooms.add(1)
    welcome = come(served, "ann", lost).receive()
    assert welcome["restored_ids"] == []


def test_it_is_kept_for_some_time_only(
    served: Served, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = memory.time()
    ttl = served.cable.settings.session_ttl
    monkeypatch.setattr(memory, "time", lambda: now + ttl + 1)
    assert not is_restored(come(served, "ann", lost).receive())


def test_who_was_sent_away_has_nothing_to_take_up(served: Served) -> None:
    client = come(served, "ann")
    sid = client.receive()["sid"]
    served.cable.disconnect({"name": "ann"}, reconnect=True)
    assert client.receive()["type"] == "disconnect"
    eventually(lambda: not served.cable.endpoint.sockets)
    assert not is_restored(come(served, "ann", sid).receive())


def test_a_plain_client_has_no_sid(served: Served, lost: str) -> None:
    path = f"/cable?sid={lost}"
    ws: WebSocket = served.connect(path, subprotocols=("actioncable-v1-json",))
    assert CableClient(ws).receive() == {"type": "welcome"}
    assert is_restored(come(served, "ann", lost).receive())  # nobody has used it


# The broker is away


class Away(MemoryPubSub):
    """A broker that neither keeps nor gives."""

    def keep(self, key: str, value: bytes, seconds: float) -> None:
        raise PubSubError("nobody is there")

    def take(self, key: str) -> bytes | None:
        raise PubSubError("nobody is there")

    def touch(self, sessions: dict[str, list[str]]) -> None:
        raise PubSubError("nobody is there")


def test_without_a_broker_clients_come_and_go_but_take_up_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TOUCH_S", 0.02)
    caplog.set_level(logging.INFO, "gateway.cable")
    app = Flask("rooms")
    app.config["GATEWAY_ADAPTER"] = f"{__name__}:Away"
    gateway = Gateway(app)
    gateway.connection(Person)
    gateway.channel(RoomChannel)
    app.secret_key = "secret"
    with Served(app) as served:
        client = come(served, "ann")
        sid = client.receive()["sid"]
        assert client.subscribe("RoomChannel", n=1) == "confirm_subscription"
        client.ws.abort()
        eventually(lambda: "not resumable: nobody is there" in caplog.text)
        assert not is_restored(come(served, "ann", sid).receive())
        assert "not resumed: nobody is there" in caplog.text
        told = "who is present could not be told: nobody is there"
        eventually(lambda: caplog.messages.count(told) > 1)
