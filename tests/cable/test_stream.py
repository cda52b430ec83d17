"""One stream: who is given what, and what is known of its past."""

from __future__ import annotations

from gateway.cable.feeds import Terms
from gateway.cable.history import Position
from gateway.cable.hub import Hub
from gateway.cable.publication import Publication
from gateway.cable.stream import Stream
from tests.cable.conftest import Healing, Wire, enveloped, identify, say

ID = identify("C")
ENVELOPE = enveloped("C")
MERGE, LATEST = Terms(1, "merge"), Terms(1, "latest")


def test_readers_with_the_same_identifier_share_one_envelope(hub: Hub) -> None:
    stream = hub.open("s")
    wires = [Wire() for _ in range(3)]
    for wire in wires:
        stream.plain.join(ENVELOPE, wire)
    assert len(stream.plain.groups) == 1
    say(hub, "s", b'{"a":1}')
    assert [wire.sent for wire in wires] == [
        [{"identifier": ID, "message": {"a": 1}}]
    ] * 3


def test_callbacks_may_come_and_go_while_they_are_called(hub: Hub) -> None:
    stream = hub.open("s")
    heard: list[str] = []

    def first(publication: Publication) -> None:
        heard.append("first")
        stream.callbacks.remove(first)

    def second(publication: Publication) -> None:
        heard.append("second")

    stream.callbacks += [first, second]
    say(hub, "s", b"1")
    assert heard == ["first", "second"]


def test_the_newest_is_the_last_that_was_broadcast(healing: Healing) -> None:
    healing.broker.say("s", 1)
    stream = healing.hub.open("s")
    assert stream.newest == b"1"
    healing.broker.say("s", 2)
    healing.broker.publish("s", Publication(b'"whispered"', transient=True))
    assert stream.newest == b"2"


def test_of_a_stream_that_keeps_nothing_the_last_is_known() -> None:
    healing = Healing(kept=0)
    stream = healing.hub.open("s")
    assert stream.newest is None
    healing.broker.say("s", 1)
    assert stream.newest == b"1"


def test_a_merging_feed_begins_with_all_that_is_kept(healing: Healing) -> None:
    healing.broker.say("s", '{"a":1}', '{"b":2}')
    stream = healing.hub.open("s")
    assert stream.conflate(MERGE).value == b'{"a":1,"b":2}'


def test_or_with_the_last_if_nothing_is() -> None:
    healing = Healing(kept=0)
    stream = healing.hub.open("s")
    assert stream.conflate(MERGE).value is None
    stream.drop(MERGE)
    other = healing.hub.open("other")
    healing.broker.say("other", '{"a":1}')
    assert other.conflate(MERGE).value == b'{"a":1}'


def test_what_was_merged_is_kept_while_the_stream_is_open() -> None:
    """Other terms, and readers who come later, begin where the first ones are."""
    healing = Healing(kept=0)
    stream = healing.hub.open("s")
    assert stream.conflate(MERGE) is stream.conflate(MERGE)
    healing.broker.say("s", '{"a":1}', '{"b":2}')
    stream.drop(MERGE)
    stream.drop(MERGE)
    assert stream.conflating == {}
    healing.broker.say("s", '{"c":3}')
    feed = stream.conflate(Terms(10, "merge"))
    assert feed.value == b'{"a":1,"b":2,"c":3}'
    assert feed.updates == 0
    healing.broker.say("s", '{"d":4}')
    assert stream.conflate(Terms(2, "merge")).updates == 1  # others have heard it
    assert stream.conflate(LATEST).value == b'{"d":4}'


def test_one_odd_message_costs_the_others_nothing(healing: Healing) -> None:
    stream = healing.hub.open("s")
    merging, latest = stream.conflate(MERGE), stream.conflate(LATEST)
    heard: list[Publication] = []
    stream.callbacks.append(heard.append)
    healing.broker.say("s", "no JSON")
    assert (merging.updates, latest.updates) == (0, 1)
    assert len(heard) == 1


def test_conflated_messages_are_counted(healing: Healing) -> None:
    stream = healing.hub.open("s")
    stream.conflate(LATEST).join(ENVELOPE, Wire())
    healing.broker.say("s", 1, 2, 3, 4)
    healing.clock.advance(1)
    assert healing.hub.conflated == 2


def test_a_stream_that_is_closed_has_no_timers(healing: Healing) -> None:
    stream = healing.hub.open("s")
    wire = Wire()
    feed = stream.conflate(LATEST)
    feed.join(ENVELOPE, wire)
    healing.broker.say("s", 1, 2)
    stream.drop(LATEST)
    healing.clock.advance(10)
    assert [frame["message"] for frame in wire.sent] == [1]


def test_whispers_reach_those_who_conflate(healing: Healing) -> None:
    stream, wire = healing.hub.open("s"), Wire()
    feed = stream.conflate(MERGE)
    feed.join(ENVELOPE, wire)
    healing.broker.publish("s", Publication(b'"psst"', transient=True))
    assert [frame["message"] for frame in wire.sent] == ["psst"]
    assert feed.updates == 0


def test_all_readers_are_told_of_a_gap(healing: Healing) -> None:
    stream, wires = healing.hub.open("s"), [Wire(), Wire()]
    envelope = ENVELOPE._replace(extended=True)
    stream.plain.join(envelope, wires[0])
    stream.conflate(LATEST).join(envelope, wires[1])
    assert stream.tell(lambda identifier: b'"gap"') == 2
    assert [wire.sent for wire in wires] == [["gap"], ["gap"]]


def test_where_it_is_and_where_its_past_begins(healing: Healing) -> None:
    healing.broker.say("s", *range(5))
    stream = healing.hub.open("s")
    epoch, offset = healing.broker.position("s")
    assert stream.position == (epoch, 5)
    assert stream.start == (epoch, 0)
    assert stream.is_behind(Position(epoch, offset + 1))
    assert stream.is_behind(Position("another", 1))
    assert not stream.is_behind(Position(epoch, offset))
    healing.clock.advance(1000)
    assert stream.start == (epoch, 5)  # all has expired
    assert isinstance(stream, Stream)
