"""What was broadcast is known, and said when an assertion fails."""

from __future__ import annotations

from weakref import WeakSet

import pytest
from flask import Flask

from gateway import Gateway
from gateway.errors import LocalError
from gateway.server import CableServer
from gateway.testing import (
    assert_broadcast_on,
    assert_broadcasts,
    assert_no_broadcasts,
    broadcasts,
    cable_client,
    capture_broadcasts,
    subscribe,
)
from tests.testing.conftest import Room, RoomChannel


@pytest.mark.usefixtures("app")
def test_broadcasts_are_kept() -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.perform("speak", text="one")
    with capture_broadcasts("room:1") as captured:
        room.perform("speak", text="two")
    room.unsubscribe()
    assert captured == ["two"]
    assert broadcasts("room:1") == ["one", "two"]
    assert_broadcasts("room:1", 2)
    assert_no_broadcasts("room:2")
    assert_broadcast_on("room:1", "one")
    assert_broadcast_on("room:left", 1)


@pytest.mark.usefixtures("app")
def test_broadcasts_are_forgotten_before_the_next_test() -> None:
    assert_no_broadcasts()


def test_things_name_the_streams_of_a_channel(app: Flask) -> None:
    room = Room(7)
    with app.app_context(), capture_broadcasts(room, channel=RoomChannel) as captured:
        RoomChannel.broadcast_to(room, "hi")
    assert captured == broadcasts(room, channel=RoomChannel) == ["hi"]
    assert_broadcasts(room, 1, channel=RoomChannel)
    assert_broadcast_on(room, "hi", channel=RoomChannel)
    assert_broadcasts("room:Room/7", 1)
    assert_no_broadcasts(Room(8), channel=RoomChannel)
    with pytest.raises(LocalError, match="a stream is named by a string, not Room"):
        assert_broadcasts(room, 1)


def test_a_failing_assertion_says_what_was_broadcast(app: Flask) -> None:
    gateway = app.extensions["gateway"]
    with pytest.raises(AssertionError, match="0 messages .*nothing was, nor elsewhere"):
        assert_broadcasts("room:1", 1)
    gateway.broadcast("room:1", {"text": "hi"})
    with pytest.raises(AssertionError, match=r"broadcast there was \[\{'text': 'hi'"):
        assert_broadcast_on("room:1", {"text": "ho"})
    with pytest.raises(AssertionError, match=r"elsewhere: \{'room:1': \["):
        assert_broadcast_on("room:2", {"text": "hi"})
    with pytest.raises(AssertionError, match=r"broadcast was \{'room:1': \["):
        assert_no_broadcasts()
    with pytest.raises(AssertionError, match="1 messages .* to 'room:1', not 0"):
        assert_no_broadcasts("room:1")


def test_who_comes_and_goes_and_is_sent_away_is_no_broadcast(app: Flask) -> None:
    gateway = app.extensions["gateway"]
    gateway.pubsub.join("room:1", "ann", "session", None)
    gateway.pubsub.leave("room:1", "session")
    gateway.disconnect({"user": "ann"}, reconnect=False)
    assert_no_broadcasts()


def test_an_adapter_that_records_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CableServer, "running", WeakSet())  # other tests' apps
    app = Flask("tests.unrecorded")
    app.config["GATEWAY_ADAPTER"] = "memory"
    Gateway(app)
    with pytest.raises(LocalError, match="nothing is recorded: the adapter is memory"):
        assert_broadcasts("room:1", 0)


@pytest.mark.parametrize("turn", [1, 2])
def test_a_served_app_is_asked_after_it_was_served(app: Flask, turn: int) -> None:
    browser = app.test_client()
    browser.get("/login/ann")
    with cable_client(browser) as consumer:
        room = consumer.subscribe("RoomChannel", room_id=turn).wait_confirmed()
        room.perform("speak", text="hi")
        assert [room.receive(5), room.receive(5)][1] == "hi"
    assert_broadcast_on(turn, "hi", channel=RoomChannel)
