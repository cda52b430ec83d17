"""Who is present through this process, and what its clients know of who else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.cable.channel import Channel, action
from gateway.cable.messages import PresenceJoin
from gateway.cable.publication import Publication
from gateway.errors import CommandError, LocalError, PubSubError
from tests.cable.conftest import Client, Healing, Wire, identify


class Room(Channel):
    def subscribed(self) -> None:
        self.stream_from("s", presence=True)


class Here(Channel):
    """Makes its clients present."""

    def subscribed(self) -> None:
        self.join_presence("ann", {"by": "the program"})
        self.stream_from("s", presence=True)

    def unsubscribed(self) -> None:
        self.leave_presence()
        self.join_presence("ghost")

    @action
    def rename(self, data: dict[str, Any]) -> None:
        self.join_presence(data["to"])


class Strict(Here):
    """Lets nobody in, but only after it has begun."""

    def subscribed(self) -> None:
        super().subscribed()
        self.reject()


class Slow(Channel):
    """Lets in later, or not."""

    made: Slow

    def subscribed(self) -> None:
        Slow.made = self
        self.defer_confirmation()


class Nowhere(Channel):
    """Wants its clients to be present, but names no stream."""

    def subscribed(self) -> None:
        self.join_presence("ann")


ROOM, SECOND, HERE = identify("Room"), identify("Room", n=2), identify("Here")
CHANNELS: dict[str, type[Channel]] = {
    cls.__name__: cls for cls in (Room, Here, Strict, Slow, Nowhere)
}


def come(
    healing: Healing, *identifiers: str, extended: bool = True, **rules: Any
) -> Client:
    """A client with these subscriptions."""
    client = Client(healing.hub, CHANNELS, **rules)
    client.wire.extended = extended
    for identifier in identifiers:
        client.say(command="subscribe", identifier=identifier)
    client.wire.take()
    return client


def join(client: Client, member: Any, identifier: str = ROOM) -> list[Any]:
    about = {"id": member}
    return client.say(command="join", identifier=identifier, presence=about)


def told(wire: Wire) -> list[str]:
    """Who came and went, as a client heard since the last time."""
    frames = [frame["message"] for frame in wire.take()]
    return [f"{frame['type']} {frame['id']}" for frame in frames]


# Sessions.


def test_each_subscription_of_a_connection_is_present_for_itself(
    healing: Healing,
) -> None:
    client = come(healing, ROOM, SECOND)
    for identifier in (ROOM, SECOND):
        join(client, "ann", identifier)
    client.say(command="unsubscribe", identifier=ROOM)
    assert healing.broker.present("s") == {"ann": None}
    client.say(command="unsubscribe", identifier=SECOND)
    assert healing.broker.present("s") == {}


def test_streams_are_followed_as_long_as_anybody_does(healing: Healing) -> None:
    first, second = come(healing, ROOM), come(healing, ROOM)
    come(healing, ROOM, extended=False)  # is not told who is present
    assert healing.hub.tracker.sessions == {"s": []}
    first.subscriptions.close()
    assert healing.hub.tracker.sessions == {"s": []}
    second.subscriptions.close()
    assert healing.hub.tracker.sessions == {}


def test_who_is_rejected_is_not_present_and_follows_nothing(healing: Healing) -> None:
    watcher = come(healing, ROOM)
    client = come(healing)
    client.subscribe("Strict")
    watcher.subscriptions.close()
    assert watcher.wire.take() == []
    assert healing.hub.tracker.sessions == {}


def test_who_cannot_be_subscribed_follows_nothing(healing: Healing) -> None:
    client = come(healing)
    healing.broker.away = True
    client.subscribe("Room")
    assert healing.hub.tracker.sessions == {}


def test_the_program_makes_a_client_present(healing: Healing) -> None:
    client = come(healing)
    frames = client.subscribe("Here")
    assert [frame["type"] for frame in frames] == ["confirm_subscription", "presence"]
    assert healing.broker.present("s") == {"ann": {"by": "the program"}}
    client.perform(HERE, action="rename", to="bob")
    assert healing.broker.present("s") == {"bob": None}
    client.say(command="unsubscribe", identifier=HERE)
    assert healing.broker.present("s") == {}
    assert healing.hub.tracker.sessions == {}


def test_the_program_makes_clients_of_the_plain_protocol_present(
    healing: Healing,
) -> None:
    watcher = come(healing, ROOM)
    client = come(healing, HERE, extended=False)
    client.subscriptions.close()
    assert told(watcher.wire) == ["join ann", "leave ann"]


def test_who_is_to_be_present_needs_a_stream(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    client = come(healing, identify("Nowhere"))
    assert client.wire.closed is None
    assert "stream_from(name, presence=True) makes one" in caplog.text
    with pytest.raises(CommandError, match="no presence"):
        join(client, "ann", identify("Nowhere"))


@pytest.mark.parametrize("member", [42, "", None])
def test_ids_are_strings(healing: Healing, member: Any) -> None:
    come(healing, identify("Slow"))
    with pytest.raises(LocalError, match=r"cannot be present: .* such as str\(user"):
        Slow.made.join_presence(member)


def test_who_is_let_in_later_is_present_later(healing: Healing) -> None:
    client, identifier = come(healing), identify("Slow")
    asks = {"command": "subscribe", "presence": {"id": "ann"}}
    assert client.say(identifier=identifier, **asks) == []
    Slow.made.stream_from("s", presence=True)
    assert healing.broker.present("s") == {}
    Slow.made.confirm()
    assert healing.broker.present("s") == {"ann": None}


def test_who_is_turned_away_later_never_was_present(healing: Healing) -> None:
    client, identifier = come(healing), identify("Slow")
    asks = {"command": "subscribe", "presence": {"id": "ann"}}
    client.say(identifier=identifier, **asks)
    Slow.made.stream_from("s", presence=True)
    Slow.made.reject()
    Slow.made.join_presence("ann")
    assert healing.broker.present("s") == {}
    assert healing.hub.tracker.sessions == {}


# A broker that forgets, or is away.


def test_whom_the_broker_has_forgotten_comes_again(healing: Healing) -> None:
    client = come(healing, ROOM)
    join(client, "ann")
    healing.broker._present.clear()  # as after FLUSHALL
    healing.hub.tracker.touch()
    assert healing.broker.present("s") == {"ann": None}
    client.say(command="leave", identifier=ROOM)
    healing.hub.tracker.touch()
    assert healing.broker.present("s") == {}


def test_who_comes_while_the_broker_is_away_is_present_when_it_is_back(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    client = come(healing, ROOM)
    healing.broker.away = True
    join(client, "ann")
    healing.hub.tracker.touch()
    assert "who is present could not be told: the broker is away" in caplog.text
    healing.broker.away = False
    assert healing.broker.present("s") == {}
    healing.hub.tracker.touch()
    assert told(client.wire) == ["join ann"]


def test_who_goes_while_the_broker_is_away_ends_by_itself(healing: Healing) -> None:
    client = come(healing, ROOM)
    join(client, "ann")
    healing.broker.away = True
    client.say(command="leave", identifier=ROOM)
    client.subscriptions.close()
    healing.broker.away = False
    assert healing.broker.present("s") == {"ann": None}
    assert healing.hub.tracker.sessions == {}


def test_who_is_lost_lingers_as_who_it_was_last(healing: Healing) -> None:
    """Even if the broker was away when it became that, and was not told yet."""
    client = come(healing, ROOM)
    join(client, "ann")
    healing.broker.away = True
    join(client, "bob")
    healing.broker.away = False
    client.subscriptions.close(lingering=True)
    healing.hub.tracker.touch()
    assert healing.broker.present("s") == {"bob": None}
    assert healing.hub.tracker.sessions == {}


def test_one_whose_coming_cannot_be_told_harms_no_other(healing: Healing) -> None:
    tracker, joined = healing.hub.tracker, healing.broker.join

    def refuse(stream: str, member: str, session: str, about: Any) -> None:
        if member == "ann":
            raise PubSubError("not her")
        joined(stream, member, session, about)

    for member in ("ann", "bob"):
        tracker.enter("s", tracker.name("c"), PresenceJoin(member))
    healing.broker._present.clear()
    healing.broker.join = refuse  # type: ignore[method-assign]
    tracker.touch()
    assert healing.broker.present("s") == {"bob": None}


def while_told(healing: Healing, then: Callable[[], object]) -> None:
    """Something happens while the broker is being told that somebody came."""
    joined = healing.broker.join

    def join(stream: str, member: str, session: str, about: Any) -> None:
        healing.broker.join = joined  # type: ignore[method-assign]
        then()
        joined(stream, member, session, about)

    healing.broker.join = join  # type: ignore[method-assign]


def test_who_goes_while_the_broker_is_told_is_not_present(healing: Healing) -> None:
    client = come(healing, ROOM)
    while_told(healing, client.subscriptions.close)
    join(client, "ann")
    assert healing.broker.present("s") == {}


def test_who_is_another_while_the_broker_is_told_is_that(healing: Healing) -> None:
    client = come(healing, ROOM)
    while_told(healing, lambda: join(client, "bob"))
    join(client, "ann")
    assert healing.broker.present("s") == {"bob": None}


def test_rounds_do_not_overlap(healing: Healing) -> None:
    tracker, rounds = healing.hub.tracker, []

    def touch(sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        rounds.append(sessions)
        tracker.touch()  # the timer ticks again while the broker is slow
        return {}

    healing.broker.touch = touch  # type: ignore[method-assign]
    tracker.touch()
    tracker.touch()
    assert len(rounds) == 2


# Events that are lost.


def rounds(healing: Healing, count: int) -> None:
    for _ in range(count):
        healing.hub.tracker.touch()


def test_what_was_lost_in_a_gap_is_told_afterwards(healing: Healing) -> None:
    watcher, other = come(healing, ROOM), come(healing, ROOM)
    join(other, "ann")
    rounds(healing, 2)
    assert told(watcher.wire) == ["join ann"]
    healing.broker.deaf = True
    other.say(command="leave", identifier=ROOM)
    join(other, "bob")
    healing.broker.deaf = False
    healing.hub.resume(["s", "never opened"])
    assert told(watcher.wire) == []
    rounds(healing, 2)
    assert told(watcher.wire) == ["leave ann", "join bob"]
    rounds(healing, 2)
    assert told(watcher.wire) == []


def test_a_broker_that_has_lost_its_memory_is_no_news_to_anybody(
    healing: Healing,
) -> None:
    watcher, other = come(healing, ROOM), come(healing, ROOM)
    join(other, "ann")
    rounds(healing, 2)
    watcher.wire.take()
    healing.broker._present.clear()
    healing.hub.resume(["s"])
    rounds(healing, 3)
    assert told(watcher.wire) == []
    assert healing.broker.present("s") == {"ann": None}


def test_without_an_answer_it_is_asked_again(healing: Healing) -> None:
    watcher = come(healing, ROOM)
    rounds(healing, 2)
    healing.broker.join("s", "ann", "elsewhere", None)
    watcher.wire.take()
    healing.hub.resume(["s"])
    rounds(healing, 1)
    present = healing.broker.present

    def fail(stream: str) -> dict[str, Any]:
        healing.broker.present = present  # type: ignore[method-assign]
        raise PubSubError("away")

    healing.broker.deaf = True
    healing.broker.leave("s", "elsewhere")
    healing.broker.deaf = False
    healing.broker.present = fail  # type: ignore[method-assign]
    rounds(healing, 1)
    assert told(watcher.wire) == []
    rounds(healing, 1)
    assert told(watcher.wire) == ["leave ann"]


# What a client is told when it asks.


def ask(client: Client) -> dict[str, Any]:
    (frame,) = client.say(command="presence", identifier=ROOM)
    return dict(frame["message"])


def test_without_a_broker_it_is_told_that_it_cannot_know(healing: Healing) -> None:
    client = come(healing, ROOM)
    healing.broker.away = True
    assert ask(client) == {"type": "error", "total": 0}
    assert client.wire.closed is None


def test_an_answer_that_is_too_long_is_not_sent(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    """It would count as a backlog, and so cost the client its connection."""
    client = come(healing, ROOM, max_outgoing_bytes=1000)
    for number in range(20):
        healing.broker.join("s", f"member {number}", f"{number}", "x" * 40)
    client.wire.take()
    assert ask(client) == {"type": "error", "total": 20}
    assert "more than 1000 would cut it off (max_outgoing_bytes)" in caplog.text
    short = {"return_records": False}
    (frame,) = client.say(command="presence", identifier=ROOM, data=short)
    assert frame["message"] == {"type": "info", "total": 20}


def test_a_client_says_only_so_much_about_itself(healing: Healing) -> None:
    client = come(healing, ROOM, max_presence_bytes=100)
    about = {"id": "ann", "info": "x" * 98}
    client.say(command="join", identifier=ROOM, presence=about)
    assert healing.broker.present("s") == {"ann": "x" * 98}
    about = {"id": "bob", "info": "x" * 99}
    with pytest.raises(CommandError, match="max_presence_bytes: the info of 'bob' has"):
        client.say(command="join", identifier=ROOM, presence=about)
    assert healing.broker.present("s") == {"ann": "x" * 98}


def test_an_event_is_told_as_it_is(healing: Healing) -> None:
    """Nobody here follows the stream; events pass by."""
    reader = healing.reader()
    event = msgspec.json.encode({"type": "join", "id": "ann", "info": None})
    healing.hub.deliver("s", Publication(event, transient=True, presence=True))
    healing.hub.tell_presence("never opened", event)
    assert reader.take() == []
