"""Each command, right and wrong, and what is answered (docs/protocol.md)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.cable.channel import Channel, action
from gateway.cable.hub import Hub
from gateway.cable.streams import Streams
from gateway.errors import CommandError
from tests.cable.conftest import Client, MakeClient, identify, say

Registry = dict[str, type[Channel]]


class RoomChannel(Channel):
    calls: list[object]

    def subscribed(self) -> None:
        self.calls.append("subscribed")
        match self.params.get("room"):
            case None:
                self.reject()
            case "broken":
                self.stream_from("half")
                raise ValueError("on purpose")
            case "greeting":
                self.transmit("hello")
        self.stream_from(f"room_{self.params.get('room')}")

    def unsubscribed(self) -> None:
        self.calls.append("unsubscribed")
        if self.params.get("room") == "ungrateful":
            raise ValueError("on purpose")

    @action
    def speak(self, data: dict[str, Any]) -> None:
        self.calls.append(data)
        if data.get("fail"):
            raise ValueError("on purpose")

    @action
    def wave(self) -> None:
        self.calls.append("wave")

    @action
    def move(self, data: dict[str, Any]) -> None:
        self.stop_stream_from("room_1")
        self.stream_from("room_2")

    def receive(self, data: dict[str, Any]) -> None:
        self.calls.append(("receive", data))

    def _private(self, data: dict[str, Any]) -> None:
        raise AssertionError("a client reached a private method")

    def helper(self, data: dict[str, Any]) -> None:
        raise AssertionError("a client reached a method that is no action")


@pytest.fixture(autouse=True)
def calls(registry: Registry) -> list[object]:
    registry["RoomChannel"] = RoomChannel
    RoomChannel.calls = []
    return RoomChannel.calls


ROOM = identify("RoomChannel", room=1)
CONFIRMED = {"identifier": ROOM, "type": "confirm_subscription"}


def rejected(identifier: str) -> list[dict[str, str]]:
    return [{"identifier": identifier, "type": "reject_subscription"}]


def test_subscribe_perform_unsubscribe(
    client: Client, hub: Hub, calls: list[object]
) -> None:
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]
    assert len(client.subscriptions) == 1
    say(hub, "room_1", b'"hi"')
    assert client.wire.take() == [{"identifier": ROOM, "message": "hi"}]
    assert client.perform(ROOM, action="speak", text="x") == []
    assert client.say(command="unsubscribe", identifier=ROOM) == []
    assert calls == ["subscribed", {"action": "speak", "text": "x"}, "unsubscribed"]
    assert hub.streams == {}


def test_what_is_transmitted_in_subscribed_precedes_the_confirmation(
    client: Client,
) -> None:
    answer = client.subscribe("RoomChannel", room="greeting")
    assert [m.get("type", m.get("message")) for m in answer] == [
        "hello",
        "confirm_subscription",
    ]


def test_a_rejected_subscription_is_forgotten(
    client: Client, hub: Hub, calls: list[object]
) -> None:
    assert client.subscribe("RoomChannel") == rejected(identify("RoomChannel"))
    assert calls == ["subscribed", "unsubscribed"]
    assert hub.streams == {}
    assert len(client.subscriptions) == 0


def test_a_failing_subscribed_is_rejected(
    client: Client, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    broken = identify("RoomChannel", room="broken")
    assert client.subscribe("RoomChannel", room="broken") == rejected(broken)
    assert "ValueError: on purpose" in caplog.text
    assert hub.streams == {}


def test_a_channel_that_cannot_be_made_is_rejected(
    client: Client, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Channel):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.stream_from("too early")

    registry["Odd"] = Odd
    with pytest.raises(CommandError, match="Odd cannot be made: LocalError"):
        client.subscribe("Odd")
    assert client.wire.take() == rejected(identify("Odd"))
    assert "streams and messages belong in subscribed()" in caplog.text
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]


@pytest.mark.parametrize(
    "identifier",
    [
        identify("Unknown"),
        identify("Channel"),
        identify("Hub"),
        "not json",
        "[]",
        '{"room":1}',
        '{"channel":["RoomChannel"]}',
        "",
    ],
)
def test_identifiers_that_name_no_channel_are_rejected(
    client: Client, identifier: str
) -> None:
    with pytest.raises(CommandError):
        client.say(command="subscribe", identifier=identifier)
    assert client.wire.take() == rejected(identifier)
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]


def test_rails_client_is_confirmed_again(client: Client, calls: list[object]) -> None:
    client.subscribe("RoomChannel", room=1)
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]
    assert calls == ["subscribed"]


def test_anycables_client_is_not(make_client: MakeClient) -> None:
    client = make_client(confirm_repeats=False)
    client.subscribe("RoomChannel", room=1)
    assert client.subscribe("RoomChannel", room=1) == []


def test_repeats_that_were_sent_before_the_confirmation_are_ignored(
    client: Client,
) -> None:
    """``subscribed`` took a second, in which Rails' client repeated itself twice."""
    client.wire.waiting = 2
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]
    client.wire.waiting = 0
    assert client.subscribe("RoomChannel", room=1) == []
    assert client.subscribe("RoomChannel", room=1) == []
    assert client.subscribe("RoomChannel", room=1) == [CONFIRMED]


def test_the_identifier_is_an_opaque_key(client: Client) -> None:
    """Another order of keys is another subscription: never re-serialised."""
    other = '{"room":1,"channel":"RoomChannel"}'
    client.subscribe("RoomChannel", room=1)
    answer = client.say(command="subscribe", identifier=other)
    assert answer == [{"identifier": other, "type": "confirm_subscription"}]
    assert len(client.subscriptions) == 2


def test_actions_get_their_data_if_they_take_it(
    client: Client, calls: list[object]
) -> None:
    client.subscribe("RoomChannel", room=1)
    client.perform(ROOM, action="wave", ignored=1)
    client.perform(ROOM, text="no action named")
    client.perform(ROOM, action="", text="a blank one")
    assert calls[1:] == [
        "wave",
        ("receive", {"text": "no action named"}),
        ("receive", {"action": "", "text": "a blank one"}),
    ]


@pytest.mark.parametrize(
    "action_name",
    ["_private", "helper", "subscribed", "unsubscribed", "transmit", "__init__", 7],
)
def test_what_is_no_action_cannot_be_called(
    client: Client, calls: list[object], action_name: object
) -> None:
    client.subscribe("RoomChannel", room=1)
    with pytest.raises(CommandError, match="no action"):
        client.perform(ROOM, action=action_name)
    assert calls == ["subscribed"]


@pytest.mark.parametrize("data", [None, 7, {"action": "speak"}, "not json", "[]"])
def test_data_that_is_no_object(client: Client, data: object) -> None:
    client.subscribe("RoomChannel", room=1)
    with pytest.raises(CommandError, match="data is not"):
        client.say(command="message", identifier=ROOM, data=data)


def test_an_action_that_fails_costs_nothing_else(
    client: Client, calls: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    client.subscribe("RoomChannel", room=1)
    with caplog.at_level(logging.ERROR):
        assert client.perform(ROOM, action="speak", fail=True) == []
    assert "RoomChannel.speak failed" in caplog.text
    client.perform(ROOM, action="wave")
    assert calls[-1] == "wave"


def test_streams_can_change_while_subscribed(client: Client, hub: Hub) -> None:
    client.subscribe("RoomChannel", room=1)
    client.perform(ROOM, action="move")
    say(hub, "room_1", b"1")
    say(hub, "room_2", b"2")
    assert client.wire.take() == [{"identifier": ROOM, "message": 2}]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ({"command": "dance"}, "unknown command 'dance'"),
        ({"command": "unsubscribe", "identifier": "never"}, "not subscribed"),
        ({"command": "message", "identifier": "never"}, "not subscribed"),
    ],
)
def test_commands_that_cannot_be_carried_out(
    client: Client, command: dict[str, str], complaint: str
) -> None:
    for extended in (False, True):
        client.wire.extended = extended
        with pytest.raises(CommandError, match=complaint):
            client.say(**command)
        assert client.wire.take() == []


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ({"command": "subscribe", "identifier": identify("x" * 5000)}, "xxx…"),
        ({"command": "x" * 500_000}, "xxx…"),
        ({"command": "message", "identifier": "x" * 5000}, "5000 characters"),
        (
            {"command": "message", "identifier": identify("C", token="secret")},
            "[FILTERED]",
        ),
        (
            {
                "command": "message",
                "identifier": ROOM,
                "data": '{"action":"%s"}' % ("x" * 5000),
            },
            "xxx…",
        ),
    ],
)
def test_complaints_are_short_and_tell_no_secrets(
    make_client: MakeClient, command: dict[str, Any], shown: str
) -> None:
    client = make_client(filter_parameters=("token",))
    client.subscribe("RoomChannel", room=1)
    with pytest.raises(CommandError) as error:
        client.say(**command)
    assert shown in str(error.value)
    assert len(str(error.value)) < 250
    assert "secret" not in str(error.value)


def test_closing_ends_all_subscriptions(
    client: Client, hub: Hub, calls: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    client.subscribe("RoomChannel", room="ungrateful")
    client.subscribe("RoomChannel", room=1)
    client.subscriptions.close()
    assert calls[2:] == ["unsubscribed", "unsubscribed"]
    assert "failed to unsubscribe" in caplog.text
    assert hub.streams == {}
    assert not client.subscriptions.identifiers


def test_one_that_cannot_be_ended_does_not_keep_others(
    client: Client,
    hub: Hub,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever one step does that nobody has thought of."""

    def fail(self: Streams) -> None:
        monkeypatch.undo()
        raise ValueError("on purpose")

    client.subscribe("RoomChannel", room=1)
    client.subscribe("RoomChannel", room=2)
    monkeypatch.setattr(Streams, "close", fail)
    client.subscriptions.close()
    assert "could not be ended" in caplog.text
    assert list(hub.streams) == ["room_2"]
