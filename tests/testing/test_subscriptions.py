"""What a subscription without a socket shows, and what it can be made to do."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from gateway import Channel, Gateway
from gateway.errors import CommandError, LocalError
from gateway.testing import (
    assert_broadcasts,
    assert_has_no_stream,
    assert_has_no_stream_for,
    assert_has_stream,
    assert_has_stream_for,
    assert_no_streams,
    connect,
    stub_connection,
    subscribe,
)
from tests.testing.conftest import Person, RoomChannel

WELCOME = {"welcome": {"user": "ann"}}


def test_a_subscription_shows_what_it_did() -> None:
    room = subscribe(RoomChannel, stub_connection(user="ann"), room_id=1)
    assert room.confirmed
    assert not room.rejected
    assert room.streams == ["room:1", "news"]
    assert_has_stream(room, "room:1")
    assert_has_stream_for(room, 1)
    assert room.transmissions == [WELCOME]
    assert repr(room) == "<RoomChannel confirmed, streams ['room:1', 'news']>"


def test_each_subscription_of_a_connection_shows_its_own() -> None:
    ann = stub_connection(user="ann")
    one, two = (subscribe(RoomChannel, ann, room_id=number) for number in (1, 2))
    one.perform("echo", text="hi")
    assert two.transmissions == [WELCOME]
    assert one.channel.connection is two.channel.connection


def test_a_rejected_subscription() -> None:
    room = subscribe(RoomChannel)
    assert room.rejected
    assert not room.confirmed
    assert_no_streams(room)


def test_what_subscribed_raises_is_raised() -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        subscribe(RoomChannel, room_id="broken")


def test_a_confirmation_may_be_deferred() -> None:
    room = subscribe(RoomChannel, room_id="later")
    assert not room.confirmed
    with pytest.raises(LocalError, match="cannot tick: it is not confirmed"):
        room.tick()
    room.perform("now")
    assert room.confirmed


def test_assertions_on_streams_say_what_there_is() -> None:
    room = subscribe(RoomChannel, room_id=1)
    with pytest.raises(AssertionError, match=r"from 'room:2', but from \['room:1', "):
        assert_has_stream_for(room, 2)
    with pytest.raises(AssertionError, match=r"it streams from \['room:1', 'news'\]"):
        assert_no_streams(room)
    assert_has_no_stream(room, "room:2")
    with pytest.raises(AssertionError, match=r"it streams from 'room:1'"):
        assert_has_no_stream_for(room, 1)


# What it does


def test_what_an_action_raises_is_raised_unless_the_channel_rescues_it() -> None:
    room = subscribe(RoomChannel, room_id=1)
    with pytest.raises(RuntimeError, match="on purpose"):
        room.perform("fail")
    room.perform("mended")
    assert room.transmissions[-1] == "mended"
    with pytest.raises(RuntimeError, match="while mending"):
        room.perform("mended_badly")


def test_an_unknown_action_is_named() -> None:
    with pytest.raises(CommandError, match=r"RoomChannel has no action 'shout'"):
        subscribe(RoomChannel, room_id=1).perform("shout")


def test_data_is_json_both_ways() -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.perform("echo", when=(1, 2))
    assert room.transmissions[-1] == {"action": "echo", "when": [1, 2]}
    with pytest.raises(TypeError):
        room.perform("echo", thing=object())


def test_data_that_does_not_fit_is_refused_as_a_client_is() -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.perform("order", item="tea")
    assert room.transmissions[-1] == "tea"
    with pytest.raises(CommandError, match="item: Missing; expected `str`"):
        room.perform("order")
    assert room.transmissions[-1] == {
        "error": "invalid_payload",
        "action": "order",
        "field": "item",
        "problem": "Missing; expected `str`",
    }


@pytest.mark.usefixtures("app")
def test_who_is_not_subscribed_can_do_nothing() -> None:
    rejected = subscribe(RoomChannel)
    gone = subscribe(RoomChannel, room_id=1)
    gone.unsubscribe()
    for room in (rejected, gone):
        with pytest.raises(LocalError, match="cannot perform: it is not subscribed"):
            room.perform("now")
        with pytest.raises(LocalError, match="cannot unsubscribe: it is not subscri"):
            room.unsubscribe()


def test_what_it_does_periodically_is_done_when_told() -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.tick("tick")
    assert room.transmissions[-1] == {"tick": 1}
    with pytest.raises(RuntimeError, match="nothing to see"):
        room.tick()
    assert room.transmissions[-1] == {"tick": 2}
    with pytest.raises(LocalError, match=r"called tock, only \['tick', 'look'\]"):
        room.tick("tock")


# What it hears


def test_callbacks_hear_what_is_broadcast(app: Flask) -> None:
    room = subscribe(RoomChannel, room_id=1)
    app.test_client().get("/say/hello")
    assert room.transmissions[1:] == [{"heard": "hello"}]
    with app.app_context(), pytest.raises(RuntimeError, match="bad news"):
        app.extensions["gateway"].broadcast("news", "worse")


@pytest.mark.usefixtures("app")
def test_callbacks_hear_what_an_action_said_once_that_has_returned() -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.perform("tell", text="hello")
    assert room.transmissions[1:] == ["told", {"heard": "hello"}]
    with pytest.raises(RuntimeError, match="bad news"):
        room.perform("tell", text="worse")


def test_what_streams_tell_clients_is_no_transmission(app: Flask) -> None:
    room = subscribe(RoomChannel, stub_connection(user="ann"), room_id=1)
    room.perform("speak", text="hi")
    assert_broadcasts("room:1", 1)
    assert room.transmissions == [WELCOME]


def test_who_has_unsubscribed_hears_nothing(app: Flask) -> None:
    room = subscribe(RoomChannel, room_id=1)
    room.unsubscribe()
    app.test_client().get("/say/hello")
    assert len(room.transmissions) == 1


# Where it does it


def test_each_callback_has_a_context_of_the_app_at_hand(app: Flask) -> None:
    room = subscribe(RoomChannel, room_id=1)
    for _ in range(2):
        room.perform("where")
        assert room.transmissions[-1] == ["tests.testing", True]


def test_within_a_context_it_is_that(app: Flask) -> None:
    with app.app_context():
        room = subscribe(RoomChannel, room_id=1)
        for first in (True, False):
            room.perform("where")
            assert room.transmissions[-1] == ["tests.testing", first]


def test_several_apps_must_be_told_apart() -> None:
    apps = [Flask("one"), Flask("two")]
    for each in apps:
        each.config["GATEWAY_ADAPTER"] = "test"
        Gateway(each).channel(RoomChannel)
    with pytest.raises(LocalError, match=r"several apps have RoomChannel: call the fi"):
        subscribe(RoomChannel, room_id=1)
    for each in apps:
        with each.app_context():
            room = subscribe(RoomChannel, room_id=1)
            room.perform("where")
            assert room.transmissions[-1] == [each.name, True]


def test_an_app_with_another_adapter_is_spoken_to_all_the_same() -> None:
    app = Flask("remembers")
    app.config["GATEWAY_ADAPTER"] = "memory"
    Gateway(app).channel(RoomChannel)
    room = subscribe(RoomChannel, room_id=1)
    room.perform("where")
    assert room.transmissions[-1] == ["remembers", True]


def test_a_channel_is_called_as_clients_call_it() -> None:
    app = Flask("named")
    app.config["GATEWAY_ADAPTER"] = "test"

    @Gateway(app).channel_as("Admin::NewsChannel")
    class NewsChannel(Channel):
        def subscribed(self) -> None:
            self.transmit(self.params["channel"])

    assert subscribe(NewsChannel).transmissions == ["Admin::NewsChannel"]


# The connection's hooks


def test_hooks_surround_what_a_client_does(app: Flask) -> None:
    ann = connect(Person, session={"name": "ann"})
    room = subscribe(RoomChannel, ann, room_id=1)
    room.perform("echo")
    with pytest.raises(RuntimeError):
        room.perform("fail")
    room.tick("tick")
    room.unsubscribe()
    assert (ann.begun, ann.ended) == (4, 4)


def test_what_a_hook_raises_is_raised() -> None:
    unlucky: Any = stub_connection(Person, user="unlucky")
    with pytest.raises(RuntimeError, match="no luck today"):
        subscribe(RoomChannel, unlucky, room_id=1)
