"""What a channel's author writes, and what clients can reach of it."""

from __future__ import annotations

import re
from math import inf, nan
from typing import Any

import pytest

from gateway.cable.channel import Channel, action
from gateway.cable.connection import Connection
from gateway.errors import LocalError
from tests.cable.conftest import Client, identify


class Base(Channel):
    @action
    def inherited(self, data: dict[str, Any]) -> None: ...

    @action
    def withdrawn(self, data: dict[str, Any]) -> None: ...

    def helper(self) -> None: ...


class Mixin:
    @action
    def mixed_in(self) -> None: ...


class Whole(Mixin, Base):
    @action
    def own(self, data: dict[str, Any]) -> None: ...

    def withdrawn(self, data: dict[str, Any]) -> None: ...

    def receive(self, data: dict[str, Any]) -> None: ...


def test_only_marked_methods_are_actions() -> None:
    assert set(Base.actions) == {"inherited", "withdrawn"}
    assert set(Whole.actions) == {"inherited", "mixed_in", "own", "receive"}
    assert Channel.actions == {}


@pytest.mark.parametrize(
    "name", ["subscribed", "unsubscribed", "transmit", "reject", "stream_from"]
)
def test_what_every_channel_has_cannot_be_an_action(name: str) -> None:
    with pytest.raises(LocalError, match=f"Wrong.{name} cannot be an action"):
        type("Wrong", (Channel,), {name: action(lambda self, data: None)})


def test_identifiers_are_there_under_their_own_name() -> None:
    class AppConnection(Connection):
        identified_by = ("current_user",)
        current_user = "ann"

    channel = Channel(AppConnection(), identify("C"), {"channel": "C"})
    assert channel.current_user == "ann"
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = channel.other


def test_its_log_lines_say_whose_they_are(caplog: pytest.LogCaptureFixture) -> None:
    class AppConnection(Connection):
        identified_by = ("current_user",)
        current_user = "ann"

    connection = AppConnection()
    connection.settle()
    Channel(connection, identify("C"), {"channel": "C"}).logger.warning("late")
    assert caplog.messages == ["ann: late"]


def test_a_property_that_fails_says_why() -> None:
    class RoomChannel(Channel):
        @property
        def room(self) -> object:
            return self.params.title  # type: ignore[attr-defined]

        @property
        def current_user(self) -> object:
            return self.params.user  # type: ignore[attr-defined]

    class AppConnection(Connection):
        identified_by = ("current_user",)
        current_user = "ann"

    channel = RoomChannel(AppConnection(), identify("RoomChannel"), {})
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'title'"):
        _ = channel.room
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'user'"):
        _ = channel.current_user


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"conflate": "lastest"}, "conflate is 'lastest': write 'latest' or 'merge'"),
        ({"max_rate": 0}, "max_rate is 0: give messages per second, over 0"),
        ({"max_rate": -1}, "max_rate is -1: give messages"),
        ({"max_rate": nan}, "max_rate is nan: give messages"),
        ({"max_rate": inf}, "max_rate is inf: give messages"),
        ({"max_rate": "3"}, "max_rate is '3': give messages"),
        ({"max_rate": 3, "callback": print}, "a callback hears each message: "),
        ({"conflate": "merge", "callback": print}, "a callback hears each message: "),
        ({"latest": True, "callback": print}, "a callback hears each message: "),
        ({"callback": "heard"}, "callback is 'heard', which cannot be called"),
    ],
)
def test_terms_that_cannot_be(
    client: Client,
    registry: dict[str, type[Channel]],
    how: dict[str, Any],
    sentence: str,
) -> None:
    class Wrong(Channel):
        def subscribed(self) -> None:
            with pytest.raises(LocalError, match=re.escape(sentence)):
                self.stream_from("s", **how)

    registry["Wrong"] = Wrong
    (answer,) = client.subscribe("Wrong")
    assert answer["type"] == "confirm_subscription"


@pytest.mark.parametrize("name", [None, 7, "", b"s"])
def test_a_stream_has_a_name(
    client: Client, registry: dict[str, type[Channel]], name: Any
) -> None:
    class Wrong(Channel):
        def subscribed(self) -> None:
            with pytest.raises(LocalError, match=f"by a string, not {name!r}: use"):
                self.stream_from(name)

    registry["Wrong"] = Wrong
    (answer,) = client.subscribe("Wrong")
    assert answer["type"] == "confirm_subscription"


def test_streams_wait_for_subscribed() -> None:
    class Hasty(Channel):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.stream_from("s")

    with pytest.raises(LocalError, match="not in __init__"):
        Hasty(Connection(), identify("C"), {})


def test_names() -> None:
    assert Whole.channel_name == "whole"
    assert Whole.broadcasting_for((1, "a")) == "whole:1:a"

    class AdminChatChannel(Channel):
        channel_name = "admin:chat"

    assert AdminChatChannel.broadcasting_for("x") == "admin:chat:x"
    with pytest.raises(LocalError, match="is not registered"):
        AdminChatChannel.broadcast_to("x", 1)
