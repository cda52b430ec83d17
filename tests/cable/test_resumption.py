"""What clients of the plain protocol are told of what they missed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from gateway.cable import resumption
from gateway.cable.channel import Channel
from gateway.cable.connection import Connection
from gateway.cable.hub import Hub
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub import memory
from tests.cable.conftest import Client, Clock, MakeClient, identify

IDENTIFIER = identify("Chat")


class Chat(Channel):
    replay_on_reconnect = 3

    def subscribed(self) -> None:
        self.stream_from("chat")


class Known(Connection):
    identified_by = ("name",)


Come = Callable[[str], Client]


@pytest.fixture
def come(make_client: MakeClient, registry: dict[str, type[Channel]]) -> Come:
    """Somebody connects."""
    registry["Chat"] = Chat

    def connect(name: str) -> Client:
        connection = Known()
        connection.name = name
        return make_client(connection=connection)

    return connect


def subscribe(client: Client) -> list[Any]:
    """Subscribe; what is told besides the confirmation."""
    first, *rest = client.subscribe("Chat")
    assert first["type"] == "confirm_subscription"
    return [frame["message"] for frame in rest]


def lose(client: Client) -> None:
    """The connection breaks."""
    client.subscriptions.close(lingering=True)


def say(hub: Hub, *texts: str) -> None:
    for text in texts:
        hub.backend.publish("chat", Publication(b'{"text":"%b"}' % text.encode()))


def replayed(text: str) -> dict[str, Any]:
    return {"text": text, "replayed": True}


def test_who_is_back_is_told_what_came_meanwhile(come: Come, hub: Hub) -> None:
    ann = come("ann")
    assert subscribe(ann) == []
    say(hub, "seen")
    lose(ann)
    say(hub, "one", "two")
    ann = come("ann")
    assert subscribe(ann) == [replayed("one"), replayed("two")]
    say(hub, "live")
    assert [frame["message"] for frame in ann.wire.take()] == [{"text": "live"}]


def test_frames_are_marked_too(come: Come, hub: Hub) -> None:
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    hub.backend.publish("chat", Publication(b'"just text"'))
    frame = come("ann").subscribe("Chat")[-1]
    assert frame == {
        "identifier": IDENTIFIER,
        "message": "just text",
        "replayed": True,
    }


def test_at_most_so_many(come: Come, hub: Hub) -> None:
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "1", "2", "3", "4")
    assert subscribe(come("ann")) == [replayed("2"), replayed("3"), replayed("4")]


def test_not_older_than(
    come: Come, hub: Hub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chat, "replay_on_reconnect", timedelta(seconds=10))
    monkeypatch.setattr(memory, "time", clock.unix)
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "old")
    clock.advance(11)
    say(hub, "new")
    assert subscribe(come("ann")) == [replayed("new")]


def test_the_tabs_of_one_person_are_all_told(come: Come, hub: Hub) -> None:
    """Their connections are lost together, when the network is."""
    tabs = [come("ann"), come("ann")]
    for tab in tabs:
        subscribe(tab)
    for tab in tabs:
        lose(tab)
    say(hub, "one")
    for _ in tabs:
        assert subscribe(come("ann")) == [replayed("one")]


def test_for_a_minute(
    come: Come, hub: Hub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many have come back meanwhile."""
    monkeypatch.setattr(memory, "time", clock.unix)
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")
    clock.advance(50)
    assert subscribe(come("ann")) == [replayed("one")]
    clock.advance(11)
    assert subscribe(come("ann")) == []


def test_whoever_is_lost_again_goes_on_from_there(come: Come, hub: Hub) -> None:
    for text in ("one", "two"):
        ann = come("ann")
        subscribe(ann)
        lose(ann)
        say(hub, text)
    assert subscribe(come("ann")) == [replayed("two")]


def test_what_comes_before_the_confirmation_is_told_once(
    come: Come, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is asked for first: it may take a while."""
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")
    ann, take = come("ann"), hub.backend.take

    def slowly(key: str) -> bytes | None:
        assert ann.wire.take() == []
        say(hub, "meanwhile")
        return take(key)

    monkeypatch.setattr(hub.backend, "take", slowly)
    assert subscribe(ann) == [replayed("one"), replayed("meanwhile")]
    say(hub, "live")
    assert [frame["message"] for frame in ann.wire.take()] == [{"text": "live"}]


def test_who_is_gone_by_then_is_told_nothing(
    come: Come, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, take = come("ann"), hub.backend.take

    def slowly(key: str) -> bytes | None:
        ann.subscriptions.close()
        return take(key)

    monkeypatch.setattr(hub.backend, "take", slowly)
    assert ann.subscribe("Chat") == []
    assert hub.streams == {}


def test_without_a_broker_nothing_is_replayed(
    come: Come, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PubSubError("away")

    monkeypatch.setattr(hub.backend, "take", fail)
    monkeypatch.setattr(hub.backend, "keep", fail)
    ann = come("ann")
    assert subscribe(ann) == []
    say(hub, "live")
    assert [frame["message"] for frame in ann.wire.take()] == [{"text": "live"}]
    lose(ann)
    assert hub.streams == {}


def test_streams_that_it_did_not_have_are_not_replayed(
    come: Come, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")

    def subscribed(self: Chat) -> None:
        self.stream_from("new")
        self.stream_from("chat")

    hub.backend.publish("new", Publication(b'"new"'))
    monkeypatch.setattr(Chat, "subscribed", subscribed)
    assert subscribe(come("ann")) == [replayed("one")]


def test_a_mark_that_is_over_is_no_mark(come: Come, hub: Hub, clock: Clock) -> None:
    """The broker's clock may be behind."""
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")
    clock.advance(61)
    assert subscribe(come("ann")) == []


def test_messages_of_several_streams_keep_their_order() -> None:
    """Also if a clock was set back meanwhile."""

    def past(**times: float) -> list[Publication]:
        return [
            Publication(b'"%b"' % name.encode(), time=time)
            for name, time in times.items()
        ]

    streams = past(a=10, b=30, c=15), past(d=20, e=40)
    told = resumption.frames(IDENTIFIER, streams, 100, now=50)
    names = "".join(msgspec.json.decode(frame)["message"] for frame in told)
    assert names == "adbce"


def test_nobody_elses(come: Come, hub: Hub) -> None:
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")
    assert subscribe(come("bob")) == []


def test_who_unsubscribes_is_not_away(come: Come, hub: Hub) -> None:
    ann = come("ann")
    subscribe(ann)
    ann.say(command="unsubscribe", identifier=IDENTIFIER)
    say(hub, "one")
    assert subscribe(come("ann")) == []


def test_strangers_are_told_nothing(
    make_client: MakeClient, registry: dict[str, type[Channel]], hub: Hub
) -> None:
    registry["Chat"] = Chat
    somebody = make_client()
    subscribe(somebody)
    lose(somebody)
    say(hub, "one")
    assert subscribe(make_client()) == []


def test_who_can_ask_is_left_to_ask(come: Come, hub: Hub) -> None:
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, "one")
    ann = come("ann")
    ann.wire.extended = True
    assert subscribe(ann) == []


def test_as_much_as_is_kept(
    come: Come, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chat, "replay_on_reconnect", 1000)
    ann = come("ann")
    subscribe(ann)
    lose(ann)
    say(hub, *map(str, range(101)))  # the history keeps 100
    assert subscribe(come("ann")) == [replayed(str(n)) for n in range(1, 101)]
