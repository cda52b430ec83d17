"""What a subscription says and hears, and when it is over."""

from __future__ import annotations

from itertools import islice
from typing import Any

import gevent
import gevent.socket
import pytest

from gateway.consumer import (
    ConsumerClosed,
    SubscriptionRejected,
)
from gateway.errors import LocalError
from gateway.websocket import WebSocket
from tests.consumer.conftest import Make, Scripted
from tests.support import eventually
from tests.support.app import Served

# Messages


def test_messages_wait_to_be_received(make: Make) -> None:
    room = make().subscribe("RoomChannel", room=1).wait_confirmed()
    assert room.state == "confirmed"
    room.perform("say", text="one")
    room.perform("say", text="two")
    assert [room.receive(5), room.receive(5)] == [["guest", "one"], ["guest", "two"]]
    with pytest.raises(TimeoutError, match=r"nothing in 0\.01 s"):
        room.receive(timeout=0.01)


def test_messages_go_to_a_callback(make: Make) -> None:
    heard: list[Any] = []
    room = make().subscribe("RoomChannel", room=1, received=heard.append)
    room.wait_confirmed().perform("say", text="hi")
    eventually(lambda: heard == [["guest", "hi"]])


def test_a_callback_that_fails_costs_only_itself(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def receive(message: Any) -> None:
        heard.append(message)
        raise RuntimeError("on purpose")

    room = make().subscribe("RoomChannel", room=1, received=receive).wait_confirmed()
    room.perform("say", text="one")
    room.perform("say", text="two")
    eventually(lambda: len(heard) == 2)
    assert "received failed" in caplog.text


def test_a_callback_may_run_out_of_time(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def receive(message: Any) -> None:
        heard.append(message)
        raise gevent.Timeout(1)

    room = make().subscribe("RoomChannel", room=1, received=receive).wait_confirmed()
    room.perform("say", text="one")
    room.perform("say", text="two")
    eventually(lambda: len(heard) == 2)


@pytest.mark.parametrize("what", ["wait_confirmed", "receive"])
def test_a_callback_cannot_wait_for_what_it_holds_up(make: Make, what: str) -> None:
    told: list[str] = []
    client = make()

    def ask(again: bool) -> None:
        other = client.subscribe("RoomChannel", room=2)
        try:
            getattr(other, what)()
        except LocalError as exc:
            told.append(str(exc))

    client.subscribe("RoomChannel", room=1, connected=ask)
    eventually(lambda: told)
    assert told[0].startswith(f"{what}() in a callback would wait for ever")


def test_the_oldest_are_dropped_if_nobody_receives(
    served: Served, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    room = make(max_waiting=3).subscribe("RoomChannel", room=1).wait_confirmed()
    for number in range(5):
        served.cable.broadcast("room_1", number)
    eventually(lambda: room.dropped == 2)
    assert [room.receive(5) for _ in range(3)] == [2, 3, 4]
    assert caplog.text.count("3 messages wait to be received") == 1


def test_the_end_is_told_however_much_waits(served: Served, make: Make) -> None:
    client = make(max_waiting=1)
    room = client.subscribe("RoomChannel", room=1).wait_confirmed()
    served.cable.broadcast("room_1", "unheard")
    eventually(lambda: not room._messages.empty())
    client.close()
    for _ in range(2):
        with pytest.raises(ConsumerClosed):
            room.receive(1)


def test_messages_of_a_while(served: Served, make: Make) -> None:
    room = make().subscribe("RoomChannel", room=1).wait_confirmed()
    for number in range(3):
        served.cable.broadcast("room_1", number)
    assert list(islice(room.messages(timeout=5), 3)) == [0, 1, 2]
    with pytest.raises(TimeoutError, match=r"nothing in 0\.01 s"):
        next(room.messages(timeout=0.01))
    room.unsubscribe()
    assert list(room.messages(timeout=5)) == []


@pytest.mark.parametrize("called", [False, True])
def test_how_many_were_merged_is_known(
    served: Served, make: Make, called: bool
) -> None:
    seen: list[tuple[Any, int]] = []
    callbacks = {}
    if called:
        callbacks["received"] = lambda message: seen.append((message, prices.updates))
    prices = make().subscribe("PricesChannel", **callbacks).wait_confirmed()
    for number in range(4):
        served.cable.broadcast("prices", number)
    if called:
        eventually(lambda: len(seen) == 2)
    else:
        seen += [(prices.receive(5), prices.updates) for _ in range(2)]
    assert seen == [(0, 1), (3, 4)]


def test_iteration_ends_with_the_subscription(make: Make) -> None:
    room = make().subscribe("RoomChannel", room=1).wait_confirmed()
    room.perform("say", text="last")
    heard = []
    for message in room:
        heard.append(message)
        room.unsubscribe()
    assert heard == [["guest", "last"]]
    assert room.state == "unsubscribed"
    for ask in (room.receive, room.wait_confirmed, lambda: room.perform("say")):
        with pytest.raises(ConsumerClosed, match="we unsubscribed from .*RoomChannel"):
            ask()


# Its answer


def test_a_rejection_is_told_to_whoever_asks(make: Make) -> None:
    told: list[str] = []
    client = make()
    room = client.subscribe(
        "RoomChannel", room="closed", rejected=lambda: told.append("rejected")
    )
    with pytest.raises(SubscriptionRejected, match="rejected .*closed"):
        room.wait_confirmed()
    for _ in range(2):
        with pytest.raises(SubscriptionRejected):
            room.receive(1)
    assert told == ["rejected"]
    assert room.state == "rejected"
    assert client.connected


def test_an_unanswered_subscription_times_out(make: Make) -> None:
    with Scripted(lambda server, ws: server.hear(ws)) as server:
        room = make(server.url).subscribe("RoomChannel", room=1)
        with pytest.raises(TimeoutError, match=r"not confirmed in 0\.01 s"):
            room.wait_confirmed(timeout=0.01)


# What it says


def test_what_is_performed_without_a_connection_is_lost(make: Make) -> None:
    with gevent.socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    offline = make(f"ws://127.0.0.1:{port}/cable").subscribe("RoomChannel", room=1)
    assert not offline.perform("say", text="into the void")
    assert offline.state == "pending"


def test_what_is_performed_while_the_connection_breaks_is_lost(make: Make) -> None:
    client = make()
    room = client.subscribe("RoomChannel", room=1).wait_confirmed()
    assert client._ws is not None
    client._ws.abort()  # the consumer has not noticed yet
    assert not room.perform("say", text="into the void")


def test_what_is_performed_may_have_an_action_of_its_own(make: Make) -> None:
    with Scripted(lambda server, ws: server.confirm(ws)) as server:
        room = make(server.url).subscribe("RoomChannel").wait_confirmed()
        assert room.perform("say", action="ignored", text="hi")
        eventually(lambda: server.commands("message"))
    assert server.heard[1]["data"] == '{"action":"say","text":"hi"}'


# Where it stands


def test_a_gap_in_one_stream_sets_no_other_back(make: Make) -> None:
    """What was heard since the confirmation is known, though the server gives up."""

    def lose(server: Scripted, ws: WebSocket) -> None:
        place = {"epoch": "e", "offset": 0}
        server.confirm(ws, streams={"a": place, "b": place})
        for offset in (1, 2, 3):
            server.say(ws, message=offset, stream_id="b", epoch="e", offset=offset)
        server.say(ws, type="reject_history")
        ws.close()

    def repeat(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        for offset in (3, 4):
            server.say(ws, message=offset, stream_id="b", epoch="e", offset=offset)

    with Scripted(lose, repeat) as server:
        room = make(server.url).subscribe("RoomChannel")
        assert [room.receive(10) for _ in range(4)] == [1, 2, 3, 4]
    assert room.duplicates == 1
    first, again = server.commands("subscribe")
    assert "history" not in first
    assert again["history"]["streams"] == {
        "a": {"epoch": "e", "offset": 0},
        "b": {"epoch": "e", "offset": 3},
    }


def test_what_cannot_be_told_is_not_asked_for_again(make: Make) -> None:
    """The stream has begun anew meanwhile."""

    def begin(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws, streams={"a": {"epoch": "old", "offset": 7}})
        ws.close()

    def begin_anew(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws, streams={"a": {"epoch": "new", "offset": 2}})
        server.say(ws, type="reject_history")
        ws.close()

    def remember(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)

    with Scripted(begin, begin_anew, remember) as server:
        make(server.url).subscribe("RoomChannel")
        eventually(lambda: len(server.commands("subscribe")) == 3)
    asked = [each.get("history") for each in server.commands("subscribe")]
    assert asked == [
        None,
        {"streams": {"a": {"epoch": "old", "offset": 7}}},
        {"streams": {"a": {"epoch": "new", "offset": 2}}},
    ]


# Others on the stream


def test_whispers_go_to_the_others(make: Make) -> None:
    ann, bob = (
        make().subscribe("RoomChannel", room=1).wait_confirmed() for _ in range(2)
    )
    ann.whisper({"typing": True})
    assert bob.receive(5) == {"typing": True}
    bob.perform("say", text="seen")
    assert ann.receive(5) == ["guest", "seen"]


def test_presence_comes_to_its_callback(make: Make) -> None:
    seen: list[Any] = []
    room = make().subscribe("RoomChannel", room=1, presence=seen.append)
    room.wait_confirmed().join("42", {"name": "Ann"})
    eventually(lambda: len(seen) == 1)
    room.ask_presence()
    eventually(lambda: len(seen) == 2)
    room.leave()
    eventually(lambda: len(seen) == 3)
    assert seen == [
        {"type": "join", "id": "42", "info": {"name": "Ann"}},
        {
            "type": "info",
            "total": 1,
            "records": [{"id": "42", "info": {"name": "Ann"}}],
        },
        {"type": "leave", "id": "42"},
    ]


def test_who_is_present_is_so_again_after_a_reconnection(make: Make) -> None:
    def vanish(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        assert server.hear(ws)["command"] == "join"
        ws.abort()

    def stay(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)

    with Scripted(vanish, stay) as server:
        room = make(server.url).subscribe("RoomChannel")
        room.join("42", {"name": "Ann"})  # said when it is confirmed
        eventually(lambda: len(server.commands("join")) == 2)
        room.leave()
        eventually(lambda: server.commands("leave"))
    first, again = server.commands("join")
    assert first == again
    assert first["presence"] == {"id": "42", "info": {"name": "Ann"}}


def test_who_has_left_stays_away(make: Make) -> None:
    def vanish(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        while server.hear(ws)["command"] != "leave":
            pass
        ws.abort()

    def stay(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        assert server.hear(ws)["command"] == "message"

    with Scripted(vanish, stay) as server:
        room = make(server.url).subscribe("RoomChannel").wait_confirmed()
        room.join("42")
        room.leave()
        eventually(lambda: len(server.commands("subscribe")) == 2)
        room.wait_confirmed().perform("say")
        eventually(lambda: server.commands("message"))
    assert len(server.commands("join")) == 1
