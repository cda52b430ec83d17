"""Exact scenarios over real sockets: what is told, how often, in what order."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

import gevent
import msgspec

from gateway.cable.history import Position
from gateway.cable.publication import Publication
from tests.scenarios.world import ID, KEPT, FeedChannel, MemoryWorld, World, told
from tests.support import eventually
from tests.support.app import identify

__all__ = ["IN_MEMORY", "SCENARIOS", "Scenario"]

Scenario = Callable[[World], None]
SCENARIOS: list[Scenario] = []
"""Those that can be played with any store."""

IN_MEMORY: list[Callable[[MemoryWorld], None]] = []
"""Those that need a store whose clock can be set."""


def scenario(play: Scenario) -> Scenario:
    SCENARIOS.append(play)
    return play


def in_memory(play: Callable[[MemoryWorld], None]) -> Callable[[MemoryWorld], None]:
    IN_MEMORY.append(play)
    return play


# What was missed.


@scenario
def a_gap_that_is_kept(world: World) -> None:
    world.say(*range(5))
    place, missed = world.end(), world.somewhere(0, KEPT)
    world.say(*range(missed))
    client = world.subscribed(streams={"s": place})
    assert told(client) == [*range(missed), "confirm_history"]


@scenario
def a_gap_that_is_not(world: World) -> None:
    world.say(0)
    place = world.end()
    world.say(*range(KEPT + world.somewhere(1, 30)))
    client = world.subscribed(streams={"s": place})
    assert told(client) == ["reject_history"]


@scenario
def an_offset_of_the_future(world: World) -> None:
    world.say(1)
    place = {**world.end(), "offset": 1 + world.somewhere(1, 2**62)}
    assert told(world.subscribed(streams={"s": place})) == ["reject_history"]


@scenario
def another_epoch(world: World) -> None:
    world.say(*range(world.somewhere(0, 20)))
    place = {**world.end(), "epoch": "another"}
    assert told(world.subscribed(streams={"s": place})) == ["reject_history"]


@scenario
def another_streams_place(world: World) -> None:
    """Though they are in the same epoch: two stores might have been made at once."""
    for stream in ("s", "other"):
        world.flush(stream, "same")
    here = world.somewhere(0, 5)
    world.say(*range(here))
    world.say(*range(here + world.somewhere(1, 5)), stream="other")
    place = world.end("other")
    assert told(world.subscribed(streams={"s": place})) == ["reject_history"]


@scenario
def two_streams_places_in_each_others_stead(world: World) -> None:
    both = identify("FeedChannel", streams=["s", "t"])
    for stream in ("s", "t"):
        world.say(*range(world.somewhere(1, 5)), stream=stream)
    places = {"s": world.end("t"), "t": world.end("s")}
    assert told(world.subscribed(both, streams=places)) == ["reject_history"]


@scenario
def a_gap_in_one_stream_of_two(world: World) -> None:
    both = identify("FeedChannel", streams=["s", "t"])
    places = {stream: world.end(stream) for stream in ("s", "t")}
    missed = world.somewhere(1, KEPT)
    world.say(*range(missed), stream="t")
    client = world.subscribed(both, streams=places)
    assert told(client) == [*range(missed), "confirm_history"]
    world.say("live", stream="s")
    assert told(client) == ["live"]


@scenario
def a_stream_it_does_not_hear(world: World) -> None:
    world.say(1, stream="secret")
    place = {**world.end("secret"), "offset": 0}
    client = world.subscribed(streams={"secret": place})
    assert told(client) == ["reject_history"]


@scenario
def the_store_is_flushed_while_it_is_away(world: World) -> None:
    world.say(*range(world.somewhere(1, KEPT)))
    place = world.end()
    world.flush()
    world.say(*range(world.somewhere(0, KEPT)))
    assert told(world.subscribed(streams={"s": place})) == ["reject_history"]


@scenario
def the_store_is_flushed_while_it_listens(world: World) -> None:
    client = world.subscribed()
    before = world.somewhere(1, 5)
    world.say(*range(before))
    assert told(client) == [*range(before)]
    world.flush()
    world.say("of a new life")
    eventually(lambda: world.hub.lost == 1)
    assert told(client) == ["reject_history", "of a new life"]
    world.say("the next")
    assert told(client) == ["the next"]


@scenario
def messages_are_lost_on_their_way(world: World) -> None:
    client = world.subscribed()
    world.say("a")
    hidden = world.somewhere(1, KEPT - 1)
    world.lose(*range(hidden))
    world.say("b")
    eventually(lambda: world.hub.healed == hidden + 1)
    assert told(client) == ["a", *range(hidden), "b"]


@scenario
def more_are_lost_than_are_kept(world: World) -> None:
    client = world.subscribed()
    world.say("a")
    hidden = KEPT + world.somewhere(0, 20)
    world.lose(*range(hidden))
    world.say("b")
    eventually(lambda: world.hub.lost == 1)
    kept = [*range(hidden - KEPT + 1, hidden), "b"]
    assert told(client) == ["a", "reject_history", *kept]
    world.say("c")
    assert told(client) == ["c"]


@scenario
def a_message_comes_twice(world: World) -> None:
    client = world.subscribed()
    world.say(*range(KEPT))
    again = world.chance.sample(world.kept(), 5)
    for publication in again:
        world.hub.deliver("s", publication)
    assert told(client) == [*range(KEPT)]


@scenario
def it_is_told_while_a_storm_goes_on(world: World) -> None:
    world.say(0)
    place = world.end()
    world.say(1, 2)
    storm = gevent.spawn(_storm, world, 3, KEPT)  # no more than are kept
    client = world.subscribed(streams={"s": place})
    heard: list[Any] = []
    while KEPT - 1 not in heard:
        heard += told(client)
    storm.get()
    assert heard.count("confirm_history") == 1
    heard.remove("confirm_history")
    assert heard == list(range(1, KEPT))


def _storm(world: World, start: int, end: int) -> None:
    for number in range(start, end):
        world.say(number)
        if world.chance.random() < 0.7:
            gevent.sleep(0)


@scenario
def what_it_is_told_is_trimmed_meanwhile(world: World) -> None:
    """Between the stream's being open and the history's being told."""
    world.say(*range(KEPT))
    late = [f"late {n}" for n in range(world.somewhere(1, 3))]
    end, trimmed = world.end(), len(late)
    for offset, is_whole in ((trimmed - 1, False), (trimmed, True)):
        gated = identify("FeedChannel", gate=True, n=offset)
        client = world.come()
        assert client.receive()["type"] == "welcome"
        history = {"streams": {"s": {**end, "offset": offset}}}
        client.send(command="subscribe", identifier=gated, history=history)
        eventually(lambda: "s" in world.hub.streams)
        if not is_whole:
            world.say(*late)
        FeedChannel.gate.set()
        heard = told(client)
        FeedChannel.gate.clear()
        whole = [*range(KEPT), *late][trimmed:]
        past = [*whole, "confirm_history"] if is_whole else ["reject_history", *late]
        assert heard == ["confirm_subscription", *past]


@scenario
def it_is_said_while_the_client_subscribes(world: World) -> None:
    """It hears it behind the confirmation, and nothing twice."""
    world.say("before")
    gated = identify("FeedChannel", gate=True)
    client = world.come()
    assert client.receive()["type"] == "welcome"
    client.send(command="subscribe", identifier=gated)
    eventually(lambda: "s" in world.hub.streams)
    meanwhile = [*range(world.somewhere(1, KEPT))]
    world.say(*meanwhile)
    FeedChannel.gate.set()
    assert told(client) == ["confirm_subscription", *meanwhile]
    world.say("after")
    assert told(client) == ["after"]


@scenario
def the_store_goes_back_and_comes_as_far_again(world: World) -> None:
    """As a replica that became master too early, and was published to."""
    client = world.subscribed()
    world.say(*range(3))
    epoch = world.end()["epoch"]
    world.flush("s", epoch)
    world.lose(*(f"new {n}" for n in range(world.somewhere(3, KEPT))))
    new = [msgspec.json.decode(each.message) for each in world.kept()]
    world.hub.resume(["s"])
    assert told(client) == [0, 1, 2, "reject_history", *new]
    assert world.end()["epoch"] != epoch


@in_memory
def the_clock_steps_forward(world: MemoryWorld) -> None:
    world.say(*range(world.somewhere(1, KEPT)))
    place = {**world.end(), "offset": 0}
    world.step_clock(1000)
    assert told(world.subscribed(streams={"s": place})) == ["reject_history"]
    here = world.end()
    assert told(world.subscribed(streams={"s": here})) == ["confirm_history"]


@in_memory
def the_clock_steps_back(world: MemoryWorld) -> None:
    count = world.somewhere(1, KEPT)
    world.say(*range(count))
    place = {**world.end(), "offset": 0}
    world.step_clock(-1000)
    client = world.subscribed(streams={"s": place})
    assert told(client) == [*range(count), "confirm_history"]


@scenario
def since_a_time(world: World) -> None:
    count = world.somewhere(0, KEPT)
    world.say(*range(count))
    since = time() - 1
    assert told(world.subscribed(since=since)) == [*range(count), "confirm_history"]


@scenario
def since_a_time_to_come(world: World) -> None:
    world.say(*range(world.somewhere(0, KEPT)))
    assert told(world.subscribed(since=time() + 60)) == ["confirm_history"]


@scenario
def since_yesterday(world: World) -> None:
    assert told(world.subscribed(since="yesterday")) == ["reject_history"]


@scenario
def a_negative_time(world: World) -> None:
    since = -world.somewhere(1, 10**9)
    assert told(world.subscribed(since=since)) == ["reject_history"]


@scenario
def ten_thousand_streams_at_once(world: World) -> None:
    place = {"epoch": "e", "offset": world.somewhere(0, 9)}
    streams = {f"s{n}": place for n in range(10_000)}
    assert told(world.subscribed(streams=streams)) == ["reject_history"]


@scenario
def history_of_what_is_not_subscribed_to(world: World) -> None:
    client = world.come()
    client.receive()
    client.send(command="history", identifier=ID, history={"since": 0})
    assert told(client) == []


@scenario
def asking_again_and_again(world: World) -> None:
    count = world.somewhere(1, KEPT)
    client = world.subscribed()
    world.say(*range(count))
    assert told(client) == [*range(count)]
    for _ in range(3):
        client.send(command="history", identifier=ID, history={"since": 1})
        assert told(client) == [*range(count), "confirm_history"]
    world.say("live")
    assert told(client) == ["live"]


# Sessions.


@scenario
def a_session_is_taken_up(world: World) -> None:
    sid, count = world.lost_session(), world.somewhere(0, KEPT)
    place = world.end()
    world.say(*range(count))
    client = world.come(sid)
    assert client.receive()["restored_ids"] == [ID]
    assert told(client) == []
    client.send(command="history", identifier=ID, history={"streams": {"s": place}})
    assert told(client) == [*range(count), "confirm_history"]


@scenario
def two_take_up_one_session(world: World) -> None:
    sid = world.lost_session()
    clients = [world.come(sid) for _ in range(world.somewhere(2, 6))]
    welcomes = [client.receive() for client in clients]
    assert sum("restored" in welcome for welcome in welcomes) == 1
    assert len({welcome["sid"] for welcome in welcomes}) == len(clients)


@scenario
def a_forged_session(world: World) -> None:
    sid = world.chance.randbytes(16).hex()
    assert "restored" not in world.come(sid).receive()


@scenario
def a_session_that_is_over(world: World) -> None:
    sid = world.lost_session()
    world.forget_saved(sid)
    assert "restored" not in world.come(sid).receive()


@scenario
def a_session_is_lost_again_at_once(world: World) -> None:
    sid = world.lost_session()
    for _ in range(world.somewhere(1, 4)):
        client = world.come(sid)
        welcome = client.receive()
        assert welcome["restored_ids"] == [ID]
        sid = str(welcome["sid"])
        client.ws.abort()
        eventually(lambda s=sid: world.has_saved(s))


# Whispers and presence.


@scenario
def whispers_are_not_kept(world: World) -> None:
    clients = [world.subscribed() for _ in range(world.somewhere(2, 5))]
    clients[0].send(command="whisper", identifier=ID, data="psst")
    assert told(clients[0]) == []
    assert [told(client) for client in clients[1:]] == [["psst"]] * (len(clients) - 1)
    assert told(world.subscribed(since=1)) == ["confirm_history"]


@scenario
def the_last_session_of_a_member_leaves(world: World) -> None:
    watcher = world.subscribed()
    tabs = [world.subscribed() for _ in range(world.somewhere(1, 4))]
    for tab in tabs:
        tab.send(command="join", identifier=ID, presence={"id": "ann"})
        assert told(tab)[0:1] in (["presence"], [])
    assert told(watcher) == ["presence"]
    world.chance.shuffle(tabs)
    for tab in tabs[:-1]:
        tab.send(command="leave", identifier=ID)
        told(tab)
        assert told(watcher) == []
    tabs[-1].send(command="leave", identifier=ID)
    told(tabs[-1])
    assert told(watcher) == ["presence"]


@scenario
def a_presence_id_of_64_kilobytes(world: World) -> None:
    client = world.subscribed()
    client.send(command="join", identifier=ID, presence={"id": "x" * 65_536})
    assert told(client) == []
    assert world.served.cable.pubsub.present("s") == {}


@scenario
def who_is_lost_lingers_and_comes_back(world: World) -> None:
    client, watcher = world.subscribed(), world.subscribed()
    client.send(command="join", identifier=ID, presence={"id": "ann"})
    told(client)
    assert told(watcher) == ["presence"]
    client.ws.abort()
    eventually(lambda: not any(world.hub.tracker.sessions.values()))
    back = world.subscribed()
    back.send(command="join", identifier=ID, presence={"id": "ann"})
    assert told(back) == []
    assert told(watcher) == []
    assert world.served.cable.pubsub.present("s") == {"ann": None}
    back.send(command="leave", identifier=ID)
    told(back)


# Odd publications.


@scenario
def a_message_of_a_life_that_is_over(world: World) -> None:
    client = world.subscribed()
    world.say("a")
    old = Publication(b'"old"', epoch="over", offset=world.somewhere(1, 99))
    world.hub.deliver("s", old)
    world.say("b")
    eventually(lambda: world.hub.streams["s"].awaited is None)
    assert told(client) == ["a", "b"]


@scenario
def an_offset_nobody_has_given_out(world: World) -> None:
    """It looks as if the store had lost what came before it: a new life begins."""
    client = world.subscribed()
    world.say("a")
    place = Position(**world.end())
    wild = Publication(b'"wild"', epoch=place.epoch, offset=50 + world.somewhere(0, 9))
    world.hub.deliver("s", wild)
    eventually(lambda: world.hub.streams["s"].awaited is None)
    world.say("b")
    eventually(lambda: world.hub.streams["s"].awaited is None)
    assert told(client) == ["a", "reject_history", "wild", "b"]
