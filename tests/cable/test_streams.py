"""Streams of one subscription: live before it is confirmed, heard after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import Greenlet

from gateway.cable.feeds import Terms
from gateway.cable.history import HistoryLost
from gateway.cable.messages import HistoryRequest, StreamPosition
from gateway.cable.publication import Publication
from gateway.cable.streams import Streams
from tests.cable.conftest import Healing, Wire, identify

ID = identify("C")
LATEST, MERGE = Terms(1, "latest"), Terms(1, "merge")


class Subscribed:
    """Some streams, and what their client is told."""

    def __init__(self, healing: Healing, *, extended: bool = False) -> None:
        self.broker, self.clock = healing.broker, healing.clock
        self.hub = healing.hub
        self.wire = Wire()
        self.wire.extended = extended
        self.streams = Streams(healing.hub, ID, self.wire)

    def start(self, name: str, *args: Any, **how: Any) -> None:
        self.send(self.streams.start(name, *args, **how))

    def let_on(self) -> None:
        self.send(self.streams.let_on())

    def resume(self) -> None:
        self.send(self.streams.resume())

    def send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.wire.send_text(frame)

    def heard(self) -> list[Any]:
        """What it was told since the last time."""
        return [f.get("type") or f["message"] for f in self.wire.take()]


@pytest.fixture
def subscribed(healing: Healing) -> Subscribed:
    return Subscribed(healing)


@pytest.fixture
def forgetful() -> Subscribed:
    """One whose streams have no history."""
    return Subscribed(Healing(kept=0))


def test_nothing_is_heard_before_it_is_let_on(subscribed: Subscribed) -> None:
    subscribed.start("a")
    assert subscribed.heard() == []
    subscribed.let_on()
    subscribed.broker.say("a", 1)
    assert subscribed.heard() == [1]
    subscribed.start("b")
    subscribed.broker.say("b", 2)
    assert subscribed.heard() == [2]


@pytest.mark.parametrize("kept", [0, 100])
def test_what_came_since_it_was_started_is_told_then(kept: int) -> None:
    subscribed = Subscribed(Healing(kept))
    subscribed.broker.say("a", 0)
    subscribed.start("a")
    subscribed.broker.say("a", 1, 2)
    own = Publication(b'"own"', exclude=subscribed.wire.id)
    subscribed.broker.publish("a", own)
    subscribed.broker.publish("a", Publication(b"3", exclude="another"))
    assert subscribed.heard() == []
    subscribed.let_on()
    assert subscribed.heard() == [1, 2, 3]
    subscribed.broker.say("a", 4)
    assert subscribed.heard() == [4]


def test_of_a_stream_that_keeps_nothing_only_so_much_is_held(
    forgetful: Subscribed,
) -> None:
    forgetful.start("a")
    forgetful.broker.say("a", *range(150))
    forgetful.let_on()
    assert forgetful.heard() == [*range(50, 150)]
    assert forgetful.hub.streams["a"].callbacks == []


def test_what_is_not_kept_any_longer_is_said_to_be_lost() -> None:
    for extended in (False, True):
        subscribed = Subscribed(Healing(kept=3), extended=extended)
        subscribed.start("a")
        subscribed.broker.say("a", *range(5))
        subscribed.let_on()
        told = [2, 3, 4]
        assert subscribed.heard() == (["reject_history"] * extended) + told
        assert subscribed.hub.refused == extended
        subscribed.broker.say("a", 5)
        assert subscribed.heard() == [5]


def test_a_life_that_ends_while_it_is_held_back(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    healing.broker.say("a", 1)
    subscribed.start("a")
    healing.broker.flush("a")
    healing.broker.say("a", 2)
    healing.settle()
    subscribed.let_on()
    assert subscribed.heard() == ["reject_history", 2]


def test_what_a_life_left_behind_when_it_ended_is_not_asked_for(
    healing: Healing,
) -> None:
    """Not even to know whether there is something to tell."""
    subscribed = Subscribed(healing)
    healing.broker.say("a", 1)
    subscribed.start("a")
    healing.broker.flush("a")
    healing.broker.say("a", 2)
    healing.settle()
    subscribed.start("a", LATEST)
    subscribed.let_on()
    assert subscribed.heard() == [2]


def test_a_callback_is_told_what_came_since_it_was_started(healing: Healing) -> None:
    subscribed, called = Subscribed(healing, extended=True), list[bytes]()
    for name in ("a", "b"):
        healing.broker.say(name, 0)
        subscribed.start(name, callback=called.append)
        healing.broker.say(name, 1)
    healing.broker.flush("b")
    healing.broker.say("b", 2)
    healing.settle()
    subscribed.let_on()
    assert called == [b"1", b"2"]
    assert subscribed.heard() == []  # its gap is not the client's


def test_where_the_client_is(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    healing.broker.say("a", 1)
    subscribed.start("a")
    subscribed.start("conflated", LATEST)
    subscribed.start("called", callback=lambda message: None)
    here = healing.broker.position("a")
    healing.broker.say("a", 2)
    assert subscribed.streams.positions() == {"a": here}
    subscribed.let_on()
    assert subscribed.streams.positions() == {"a": healing.broker.position("a")}


def test_a_stream_without_history_has_no_place(forgetful: Subscribed) -> None:
    forgetful.start("a")
    assert forgetful.streams.positions() == {}


# Asking again.


def test_the_same_stream_twice_is_heard_once(subscribed: Subscribed) -> None:
    subscribed.start("a")
    subscribed.broker.say("a", 0)
    subscribed.start("a")
    subscribed.let_on()
    subscribed.start("a")
    subscribed.broker.say("a", 1)
    assert subscribed.heard() == [0, 1]
    assert subscribed.streams.names == ["a"]
    subscribed.streams.stop("a")
    assert subscribed.hub.streams == {}


Start = dict[str, Any]
PLAIN: Start = {}
KINDS: list[Start] = [
    PLAIN,
    {"latest": True},
    {"terms": LATEST},
    {"terms": MERGE},
    {"terms": MERGE, "latest": True},
    {"terms": Terms(10, "latest")},
]


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_whatever_the_terms_become_the_last_value_arrives(
    healing: Healing, before: Start, after: Start
) -> None:
    subscribed = Subscribed(healing)
    subscribed.start("a", **before)
    subscribed.let_on()
    healing.broker.say("a", 1, 2)
    subscribed.start("a", **after)
    healing.clock.advance(1)
    assert subscribed.heard()[-1] == 2
    healing.broker.say("a", 3)
    healing.clock.advance(1)
    assert subscribed.heard() == [3]
    subscribed.streams.stop("a")
    assert healing.hub.streams == {}


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_or_become_before_it_is_let_on(
    healing: Healing, before: Start, after: Start
) -> None:
    subscribed = Subscribed(healing)
    subscribed.start("a", **before)
    healing.broker.say("a", 1, 2)
    subscribed.start("a", **after)
    subscribed.let_on()
    assert subscribed.heard()[-1] == 2
    healing.broker.say("a", 3)
    healing.clock.advance(1)
    assert subscribed.heard() == [3]


def test_from_a_callback_to_the_client_and_back(subscribed: Subscribed) -> None:
    called: list[bytes] = []
    subscribed.start("a", callback=called.append)
    subscribed.let_on()
    subscribed.broker.say("a", 1)
    subscribed.start("a")
    subscribed.broker.say("a", 2)
    subscribed.start("a", callback=called.append)
    subscribed.broker.say("a", 3)
    assert called == [b"1", b"3"]
    assert subscribed.heard() == [2]
    subscribed.streams.close()
    assert subscribed.hub.streams == {}


# Stopping.


def test_stopping(subscribed: Subscribed) -> None:
    subscribed.start("a")
    subscribed.streams.stop("a")
    subscribed.let_on()
    for name in ("a", "b", "c"):
        subscribed.start(name)
    subscribed.streams.stop("a")
    subscribed.streams.stop("never started")
    for name in ("a", "b", "c"):
        subscribed.broker.say(name, 1)
    assert subscribed.heard() == [1, 1]
    subscribed.streams.stop_all()
    assert subscribed.hub.streams == {}


@pytest.mark.parametrize("live", [True, False])
def test_who_stops_leaves_nothing_in_a_stream_that_others_hear(live: bool) -> None:
    for kept in (0, 100):
        healing = Healing(kept)
        stream, subscribed = healing.hub.open("a"), Subscribed(healing)
        called: list[bytes] = []
        hows: list[Start] = [PLAIN, {"terms": MERGE}, {"callback": called.append}]
        for how in hows:
            subscribed.start("a", **how)
            if live:
                subscribed.let_on()
            subscribed.streams.stop("a")
            assert (stream.users, stream.callbacks, stream.conflating) == (1, [], {})
            healing.broker.say("a", 1)
            healing.clock.advance(1)
        assert (subscribed.heard(), called) == ([], [])


def while_opening(subscribed: Subscribed, act: Callable[[], object]) -> None:
    """The next stream that is opened takes a while, in which something is done."""
    subscribed.broker.while_asked = [act]


def test_two_greenlets_that_start_the_same_stream(subscribed: Subscribed) -> None:
    other: list[Greenlet[..., None]] = []

    def meanwhile() -> None:
        other.append(gevent.spawn(subscribed.start, "a"))
        gevent.sleep()

    while_opening(subscribed, meanwhile)
    subscribed.start("a")
    other[0].get()
    subscribed.let_on()
    subscribed.broker.say("a", 1)
    assert subscribed.heard() == [1]
    subscribed.streams.stop_all()
    assert subscribed.hub.streams == {}


def test_a_stream_that_is_started_while_all_ends(subscribed: Subscribed) -> None:
    while_opening(subscribed, subscribed.streams.close)
    subscribed.start("a")
    assert subscribed.streams.names == []
    assert subscribed.hub.streams == {}


# Pausing.


def test_what_comes_during_a_pause_is_not_heard(subscribed: Subscribed) -> None:
    called: list[bytes] = []
    subscribed.start("plain")
    subscribed.start("newest", latest=True)
    subscribed.start("conflated", MERGE)
    subscribed.start("called", callback=called.append)
    subscribed.let_on()
    subscribed.streams.pause()
    subscribed.streams.pause()
    for name in subscribed.streams.names:
        subscribed.broker.say(name, '{"a":1}', '{"b":2}')
    subscribed.clock.advance(5)
    assert (subscribed.heard(), called) == ([], [])
    subscribed.resume()
    assert subscribed.heard() == [{"b": 2}, {"a": 1, "b": 2}]
    subscribed.resume()
    for name in subscribed.streams.names:
        subscribed.broker.say(name, 3)
    subscribed.clock.advance(5)
    assert (subscribed.heard(), called) == ([3, 3, 3], [b"3"])


def test_a_conflating_reader_that_missed_nothing_is_told_nothing(
    subscribed: Subscribed,
) -> None:
    subscribed.start("a", LATEST)
    subscribed.let_on()
    subscribed.broker.say("a", 1)
    subscribed.clock.advance(5)
    subscribed.streams.pause()
    subscribed.resume()
    assert subscribed.heard() == [1]


def test_what_was_pending_when_it_paused_is_told_behind_the_pause(
    subscribed: Subscribed,
) -> None:
    subscribed.start("a", LATEST)
    subscribed.let_on()
    subscribed.broker.say("a", 1, 2)
    subscribed.streams.pause()
    subscribed.clock.advance(5)
    assert subscribed.heard() == [1]
    subscribed.start("a", MERGE)  # other terms make nobody less curious
    subscribed.resume()
    assert subscribed.heard() == [2]


def test_a_pause_that_begins_before_it_is_let_on(subscribed: Subscribed) -> None:
    subscribed.start("a")
    subscribed.streams.pause()
    subscribed.start("b")
    subscribed.let_on()
    subscribed.broker.say("a", 1)
    subscribed.broker.say("b", 1)
    assert subscribed.heard() == []
    subscribed.resume()
    subscribed.broker.say("a", 2)
    assert subscribed.heard() == [2]


def test_a_pause_that_ends_before_it_is_let_on(subscribed: Subscribed) -> None:
    subscribed.start("a")
    subscribed.streams.pause()
    subscribed.broker.say("a", 1)
    subscribed.resume()
    subscribed.broker.say("a", 2)
    assert subscribed.heard() == []
    subscribed.let_on()
    assert subscribed.heard() == [2]


def test_going_on_without_a_pause_changes_nothing(subscribed: Subscribed) -> None:
    called: list[bytes] = []
    subscribed.start("a", callback=called.append)
    subscribed.start("b", MERGE)
    subscribed.start("c")
    subscribed.let_on()
    subscribed.let_on()
    subscribed.resume()
    for name in subscribed.streams.names:
        subscribed.broker.say(name, 1)
    assert (called, subscribed.heard()) == ([b"1"], [1, 1])


# The past.


def request(since: float | None = None, **streams: Any) -> HistoryRequest:
    places = {name: StreamPosition(*place) for name, place in streams.items()}
    return HistoryRequest(since, places)


def recover(subscribed: Subscribed, wanted: HistoryRequest) -> None:
    subscribed.clock.advance(1)
    subscribed.streams.catch_up(wanted, subscribed.clock.now())
    subscribed.send(subscribed.streams.missed(wanted))
    subscribed.let_on()


def test_the_newest_is_not_told_behind_itself(healing: Healing) -> None:
    healing.broker.say("a", 1)
    place = healing.broker.position("a")
    healing.broker.say("a", 2, 3)
    for since in (place, healing.broker.position("a")):
        subscribed = Subscribed(healing, extended=True)
        subscribed.start("a", latest=True)
        recover(subscribed, request(a=since))
        assert subscribed.heard() == ([2, 3] if since is place else [])
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a", latest=True)
    recover(subscribed, request(since=2**40))  # it has nothing of the stream
    assert subscribed.heard() == [3]


def test_a_time_reaches_back_to_where_it_was_held_back_at_least(
    healing: Healing,
) -> None:
    """The clock of a client may be ahead."""
    healing.broker.say("a", 0)
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    healing.broker.say("a", 1, 2)
    recover(subscribed, request(since=2**40))
    assert subscribed.heard() == [1, 2]


def test_who_waits_for_the_past_of_one_stream_hears_the_others(
    healing: Healing,
) -> None:
    subscribed = Subscribed(healing, extended=True)
    called: list[bytes] = []
    subscribed.start("a")
    subscribed.start("b")
    subscribed.start("conflated", LATEST)
    subscribed.start("called", callback=called.append)
    subscribed.let_on()
    healing.broker.say("a", 1)
    healing.broker.lose("a", 2, 3)
    assert subscribed.heard() == [1]

    def meanwhile() -> None:
        for name in ("b", "conflated", "called"):
            healing.broker.say(name, 5)
        assert (subscribed.heard(), called) == ([5, 5], [b"5"])

    healing.broker.while_asked = [meanwhile]
    place = healing.broker.position("a")
    recover(subscribed, request(a=place._replace(offset=2)))
    assert subscribed.heard() == [3]
    for name in subscribed.streams.names:
        healing.broker.say(name, 6)
    healing.clock.advance(1)
    assert (subscribed.heard(), called) == ([6, 6, 6], [b"5", b"6"])


def test_what_comes_to_others_while_it_is_not_let_on_is_told(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.start("b")
    healing.broker.lose("a", 1)
    healing.broker.while_asked = [lambda: healing.broker.say("b", 2)]
    place = healing.broker.position("a")
    recover(subscribed, request(a=place))
    assert subscribed.heard() == [2]


def test_only_those_it_has_or_had_can_be_asked_for(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.start("b", LATEST)
    place = healing.broker.position("a")
    with pytest.raises(HistoryLost, match="does not stream from 'c'"):
        subscribed.streams.catch_up(request(a=place, c=place), 0.0)
    recover(subscribed, request(a=place, b=place))
    assert subscribed.heard() == []


def test_a_stream_that_is_stopped_while_its_past_is_read(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.start("b")
    healing.broker.lose("a", 1)
    healing.broker.while_asked = [subscribed.streams.stop_all]
    places = {name: healing.broker.position(name) for name in ("a", "b")}
    recover(subscribed, request(**places))
    assert subscribed.heard() == []
    assert healing.hub.streams == {}


def test_a_refusal_takes_nothing_of_what_was_held_back(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.start("b")
    healing.broker.say("a", 1)
    healing.broker.say("b", 2)
    place = healing.broker.position("a")._replace(offset=0)
    with pytest.raises(HistoryLost):
        recover(subscribed, request(a=place, b=("over", 1)))
    subscribed.let_on()
    assert subscribed.heard() == [1, 2]


def test_the_past_of_who_pauses_is_told_and_the_pause_goes_on(
    healing: Healing,
) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.start("b", latest=True)
    subscribed.let_on()
    subscribed.streams.pause()
    for name in ("a", "b"):
        healing.broker.say(name, 1)
    places = {n: healing.broker.position(n)._replace(offset=0) for n in ("a", "b")}
    recover(subscribed, request(**places))
    for name in ("a", "b"):
        healing.broker.say(name, 2)
    assert subscribed.heard() == [1, 1]
    subscribed.resume()
    assert subscribed.heard() == [2]  # b's value of now


def test_ones_own_messages_are_not_told_afterwards(healing: Healing) -> None:
    subscribed = Subscribed(healing, extended=True)
    subscribed.start("a")
    subscribed.let_on()
    place = healing.broker.position("a")
    for exclude in (subscribed.wire.id, "another"):
        message = f'"not for {exclude}"'.encode()
        healing.broker.publish("a", Publication(message, exclude=exclude))
    assert subscribed.heard() == ["not for another"]
    recover(subscribed, request(a=place))
    assert subscribed.heard() == ["not for another"]
