"""A client on a served gateway: hooks, timers, signals, logs, being sent away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import msgspec
import pytest
from flask import Flask, current_app

from gateway import (
    Channel,
    Connection,
    Gateway,
    action,
    after_command,
    before_command,
    periodically,
    rescue_from,
    signals,
)
from gateway.errors import LocalError
from gateway.signals import SIGNALS
from tests.support import eventually
from tests.support.app import CableClient, Served, identify
from tests.support.raw import RawClient

ROOM = identify("RoomChannel", room=1)


class Person(Connection):
    identified_by = ("user", "device")

    def connect(self) -> None:
        self.seen: list[str] = []
        user = self.session.get("name")
        if user == "banned":
            self.reject()
        self.user = user
        self.device = self.session.get("device", "phone")

    @before_command
    def enter(self) -> None:
        self.seen.append("enter")
        if self.user == "unlucky":
            raise RuntimeError("no luck today")
        if self.user == "mended":
            raise LookupError("mended")
        if self.user == "slow":
            raise gevent.Timeout(1, "took too long")

    @after_command
    def leave(self) -> None:
        self.seen.append("leave")
        if self.user == "forgetful":
            raise RuntimeError("forgot something")

    @rescue_from(LookupError)
    def mend(self, exc: LookupError) -> None:
        self.seen.append(f"rescued {exc}")

    @rescue_from(ArithmeticError)
    def make_worse(self, exc: ArithmeticError) -> None:
        raise RuntimeError("the handler fails, too")

    def disconnect(self) -> None:
        current_app.config["LEFT"].append(self)
        match self.user:
            case "clumsy":
                raise RuntimeError("stumbled on the way out")
            case "mended":
                raise LookupError("out")
            case "slow":
                raise gevent.Timeout(1, "took too long")
            case "worse":
                raise ArithmeticError("on purpose")


class RoomChannel(Channel):
    def subscribed(self) -> None:
        if self.params["room"] == "closed":
            self.reject()
        self.stream_from(f"room_{self.params['room']}")

    @action
    def say(self, data: dict[str, Any]) -> None:
        self.connection_gateway().broadcast(
            "room_1", data["text"], exclude=self.connection
        )

    @staticmethod
    def connection_gateway() -> Any:
        return current_app.extensions["gateway"]


class SlowChannel(Channel):
    def subscribed(self) -> None:
        self.stream_from("slow")
        with gevent.Timeout(0.01):
            gevent.sleep(60)


class ClockChannel(Channel):
    def subscribed(self) -> None:
        self.ticks = 0

    @periodically(0.01)
    def tick(self) -> None:
        self.ticks += 1
        self.transmit(self.ticks)


def make_app(**config: Any) -> Flask:
    app = Flask("tests.session")
    app.secret_key = "not secret"
    app.config.update(config, LEFT=[])
    gateway = Gateway(app)
    gateway.connection(Person)
    gateway.channel(RoomChannel)
    gateway.channel(ClockChannel)
    gateway.channel(SlowChannel)
    app.config["GATEWAY"] = gateway
    return app


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(make_app()) as running:
        yield running


def left(served: Served) -> Person:
    """The connection that left first, once it has."""
    eventually(lambda: served.app.config["LEFT"])
    person: Person = served.app.config["LEFT"].pop(0)
    return person


# Around each command


def test_hooks_surround_each_command(served: Served) -> None:
    with served.client(headers=served.cookie({"name": "ann"})) as ann:
        assert ann.subscribe("RoomChannel", room=1) == "confirm_subscription"
    assert left(served).seen == ["enter", "leave"]


def test_a_command_whose_hook_fails_is_not_carried_out(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client(headers=served.cookie({"name": "unlucky"})) as client:
        client.send(command="subscribe", identifier=ROOM)
        eventually(lambda: "before_command failed" in caplog.text)
        assert served.cable.connections()[0].subscriptions == []
    assert left(served).seen == ["enter", "leave"]
    assert "no luck today" in caplog.text


def test_a_hook_that_fails_afterwards_is_logged_and_costs_nothing_else(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client(headers=served.cookie({"name": "forgetful"})) as client:
        assert client.subscribe("RoomChannel", room=1) == "confirm_subscription"
        assert client.subscribe("RoomChannel", room=2) == "confirm_subscription"
        eventually(lambda: caplog.text.count("after_command failed") == 2)


def test_a_connection_may_rescue_what_its_hooks_raise(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client(headers=served.cookie({"name": "mended"})) as client:
        client.send(command="subscribe", identifier=ROOM)
    person = left(served)
    eventually(lambda: "rescued out" in person.seen)
    assert person.seen == ["enter", "rescued mended", "leave", "rescued out"]
    assert "failed" not in caplog.text


def test_a_disconnect_that_fails_is_logged_and_ends_all_the_same(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client(headers=served.cookie({"name": "clumsy"})) as client:
        assert client.subscribe("RoomChannel", room=1) == "confirm_subscription"
    left(served)
    eventually(lambda: "disconnect failed" in caplog.text)
    eventually(lambda: not served.cable.hub.streams)


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("slow", "disconnect failed"),
        ("worse", "rescuing from ArithmeticError('on purpose') failed"),
    ],
)
def test_whatever_one_step_of_the_end_does_the_others_are_done(
    served: Served,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    logged: str,
) -> None:
    def fail(self: Connection) -> None:
        raise LocalError("nobody would know them by that")

    gone: list[Any] = []
    monkeypatch.setattr(Person, "words", fail)
    monkeypatch.setattr(Person, "__str__", lambda self: "somebody")
    ws = served.connect(
        headers=served.cookie({"name": name}),
        subprotocols=("actioncable-v1-ext-json",),
    )
    client = CableClient(ws)
    client.send(command="subscribe", identifier=ROOM)
    eventually(lambda: left_behind(served))
    with signals.disconnected.connected_to(lambda sender, **about: gone.append(about)):
        ws.abort()
        eventually(lambda: gone)
    assert "saving failed" in caplog.text
    assert logged in caplog.text
    assert not left_behind(served)


def left_behind(served: Served) -> bool:
    """Whether anything of a client is there."""
    return bool(served.cable.connections() or served.cable.hub.streams)


def test_who_runs_out_of_time_loses_nothing_else(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """``gevent.Timeout`` is no :exc:`Exception`."""
    with served.client(headers=served.cookie({"name": "slow"})) as client:
        client.send(command="subscribe", identifier=ROOM)
        eventually(lambda: "before_command failed" in caplog.text)
        client.ws.ping()
    with served.client() as client:
        assert client.subscribe("SlowChannel") == "reject_subscription"
        assert client.subscribe("RoomChannel", room=1) == "confirm_subscription"
    assert "SlowChannel failed to subscribe" in caplog.text
    eventually(lambda: not served.cable.hub.streams)


@pytest.mark.slow
def test_ten_thousand_subscriptions_on_one_socket_meet_the_limit(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"confirm_subscription": 0, "reject_subscription": 0}
    with caplog.at_level(logging.INFO, "gateway.cable"), served.client() as client:
        for number in range(10_000):
            answers[client.subscribe("RoomChannel", room=number)] += 1
    assert answers == {"confirm_subscription": 1000, "reject_subscription": 9000}
    assert "max_subscriptions: there are 1000 already" in caplog.text


# Timers


def test_a_channel_does_something_again_and_again(served: Served) -> None:
    with served.client() as client:
        client.send(command="subscribe", identifier=identify("ClockChannel"))
        assert client.receive()["type"] == "confirm_subscription"
        assert [client.message() for _ in range(3)] == [1, 2, 3]


# Signals


@pytest.fixture
def heard() -> Iterator[Callable[[], list[str]]]:
    """What signals were sent, by name."""
    said: list[str] = []
    with ExitStack() as connected:
        for name, signal in SIGNALS.items():

            def receive(sender: object, name: str = name, **about: Any) -> None:
                about.pop("connection", None)
                about.pop("channel", None)
                reason = about.pop("reason", None)
                said.append(f"{name} {reason.name}" if reason else name)
                assert not about

            connected.enter_context(signal.connected_to(receive))
        yield lambda: said


def test_signals_tell_a_clients_life(
    served: Served, heard: Callable[[], list[str]]
) -> None:
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        client.subscribe("RoomChannel", room="closed")
    eventually(lambda: len(heard()) == 4)
    assert heard() == [
        "connected",
        "subscribed",
        "subscription_rejected",
        "disconnected closed_by_peer",
    ]


def test_a_signal_tells_who_was_rejected(
    served: Served, heard: Callable[[], list[str]]
) -> None:
    with served.connect(headers=served.cookie({"name": "banned"})) as ws:
        assert "unauthorized" in str(ws.receive(5))
    assert heard() == ["rejected"]


def test_a_signal_tells_who_was_too_slow(
    heard: Callable[[], list[str]],
) -> None:
    with Served(make_app(GATEWAY_MAX_OUTGOING_BYTES=100_000)) as served:
        deaf = RawClient(served.port)
        deaf.request("/cable", {"Sec-WebSocket-Protocol": "actioncable-v1-json"})
        deaf.send_text(
            msgspec.json.encode({"command": "subscribe", "identifier": ROOM}).decode()
        )
        eventually(lambda: "subscribed" in heard())
        for _ in range(20):  # more than a kernel's buffers hold
            served.cable.broadcast("room_1", "x" * 1_000_000)
            gevent.sleep(0)
        eventually(lambda: "disconnected too_slow" in heard())
    assert heard() == ["connected", "subscribed", "too_slow", "disconnected too_slow"]


def test_a_receiver_that_fails_costs_only_itself(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: object, **about: Any) -> None:
        raise RuntimeError("on purpose")

    with signals.connected.connected_to(fail), served.client() as client:
        assert client.subscribe("RoomChannel", room=1) == "confirm_subscription"
    assert "a receiver of 'connected' failed" in caplog.text


# What is written about it


def test_commands_are_logged_without_their_secrets(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "gateway.cable"), served.client() as client:
        client.subscribe("RoomChannel", room=1, password="12345")
        client.perform(
            identify("RoomChannel", room=1, password="12345"), action="say", text="x"
        )
        eventually(lambda: "message" in caplog.text)
    assert "'room': 1" in caplog.text
    assert "12345" not in caplog.text


def test_connections_tell_who_is_there(served: Served) -> None:
    with served.client(headers=served.cookie({"name": "ann"})) as ann:
        ann.subscribe("RoomChannel", room=1)
        (info,) = served.app.config["GATEWAY"].connections()
    assert info.identifiers == {"user": "ann", "device": "phone"}
    assert info.subscriptions == [ROOM]
    assert info.bytes_in > len(ROOM)
    assert info.bytes_out > len(ROOM)
    assert info.waiting_bytes == 0
    assert info.since > 0
    assert info.id.startswith(served.cable.token)


# Broadcasts and their limits


def test_a_broadcast_may_leave_somebody_out(served: Served) -> None:
    with served.client() as ann, served.client() as bob:
        for client in (ann, bob):
            client.subscribe("RoomChannel", room=1)
        ann.perform(ROOM, action="say", text="hi")
        assert bob.message() == "hi"
        served.cable.broadcast("room_1", "all")
        assert ann.message() == "all"
        assert bob.message() == "all"


def test_all_that_match_are_sent_away_and_nobody_else(served: Served) -> None:
    def client(**session: str) -> Any:
        return served.client(headers=served.cookie(session))

    nobody = served.client()
    phone, tablet = client(name="ann"), client(name="ann", device="tablet")
    bob = client(name="bob")
    gateway: Gateway = served.app.config["GATEWAY"]
    with served.app.app_context():
        gateway.disconnect(user="ann", device="tablet")
        assert tablet.receive()["reason"] == "remote"
        gateway.disconnect(user="ann", reconnect=False)
    assert phone.receive() == {
        "type": "disconnect",
        "reason": "remote",
        "reconnect": False,
    }
    assert bob.subscribe("RoomChannel", room=1) == "confirm_subscription"
    assert nobody.subscribe("RoomChannel", room=1) == "confirm_subscription"


def test_somebody_must_be_named_to_be_sent_away(served: Served) -> None:
    gateway: Gateway = served.app.config["GATEWAY"]
    with pytest.raises(LocalError, match="say whom to disconnect, by identifiers"):
        gateway.disconnect()
    with pytest.raises(LocalError, match=r"user is None, which would name nobody: "):
        gateway.disconnect(device="phone", user=None)
