"""A consumer against served apps: it subscribes, comes back, and ends."""

from __future__ import annotations

from typing import Any

import gevent
import gevent.socket
import pytest

from gateway import Consumer, reasons
from gateway.consumer import ConsumerClosed, Disconnected, consumer
from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import Backoff, Limits, WebSocket, WebSocketServer, connect
from tests.consumer.conftest import Make, Scripted, cut
from tests.support import eventually
from tests.support.app import Served


def _welcome_only(ws: WebSocket) -> None:
    ws.send_json({"type": "welcome"})
    ws.wait_closed()


# Subscribing


def test_unsubscribing_frees_the_name(served: Served, make: Make) -> None:
    client = make()
    first = client.subscribe("RoomChannel", room=1).wait_confirmed()
    with pytest.raises(LocalError, match="subscribed to .* already"):
        client.subscribe("RoomChannel", room=1)
    first.unsubscribe()
    first.unsubscribe()  # again is harmless
    client.subscribe("RoomChannel", room=1).wait_confirmed()
    assert len(served.cable.hub.streams) == 1


def test_it_asks_again_until_it_is_answered(make: Make) -> None:
    """Also of a server that has much else to say."""

    def confirm_the_third(server: Scripted, ws: WebSocket) -> None:
        while len(server.heard) < 3:
            ws.send_json({"type": "ping", "message": 1})
            try:
                server.hear(ws, timeout=0.01)
            except TimeoutError:
                continue
        server.say(ws, type="confirm_subscription")

    with Scripted(confirm_the_third) as server:
        make(server.url).subscribe("RoomChannel", room=1).wait_confirmed()
        first, second, third = server.heard
    assert first == second == third
    assert first["command"] == "subscribe"


def test_a_parameter_may_be_called_like_a_callback(served: Served, make: Make) -> None:
    client = make()
    with pytest.raises(LocalError, match=r"goes into params=\{'presence': True\}"):
        client.subscribe("RoomChannel", presence=True)  # type: ignore[arg-type]
    room = client.subscribe("RoomChannel", room=1, params={"presence": True})
    assert room.wait_confirmed().identifier == (
        '{"channel":"RoomChannel","presence":true,"room":1}'
    )


# Who it is


def test_a_token_goes_with_each_request(served: Served, make: Make) -> None:
    tokens = iter(["ann", "bob"])
    room = make(token=lambda: next(tokens)).subscribe("RoomChannel", room=1)
    room.wait_confirmed().perform("say", text="hi")
    assert room.receive(5) == ["ann", "hi"]
    cut(served)
    eventually(lambda: served.cable.endpoint.opened == 2)
    eventually(lambda: room.state == "confirmed")
    room.perform("say", text="hi")
    assert room.receive(5) == ["bob", "hi"]


def test_headers_and_a_fixed_token(served: Served, make: Make) -> None:
    headers = {"Origin": f"http://127.0.0.1:{served.port}"}
    room = make(headers=headers, token="ann").subscribe("RoomChannel", room=1)
    room.wait_confirmed().perform("say", text="hi")
    assert room.receive(5) == ["ann", "hi"]


# Coming back


def test_it_comes_back_with_all_its_subscriptions(served: Served, make: Make) -> None:
    said: list[Any] = []
    client = make()
    rooms = [
        client.subscribe(
            "RoomChannel",
            room=number,
            connected=lambda again, n=number: said.append((n, "connected", again)),
            disconnected=lambda back, n=number: said.append((n, "disconnected", back)),
        )
        for number in (1, 2)
    ]
    for room in rooms:
        room.wait_confirmed()
    cut(served)
    eventually(lambda: len(said) == 6)
    assert said == [
        (1, "connected", False),
        (2, "connected", False),
        (1, "disconnected", True),
        (2, "disconnected", True),
        (1, "connected", True),
        (2, "connected", True),
    ]
    for room in rooms:
        room.perform("say", text="again")
        assert room.receive(5) == ["guest", "again"]


def test_what_it_missed_comes_once_and_in_order(served: Served, make: Make) -> None:
    room = make(backoff=Backoff(first_s=0.2)).subscribe("RoomChannel", room=1)
    room.wait_confirmed()
    for number in range(3):
        served.cable.broadcast("room_1", number)
    assert [room.receive(5) for _ in range(3)] == [0, 1, 2]
    cut(served)
    for number in range(3, 6):
        served.cable.broadcast("room_1", number)
    room.wait_confirmed()
    served.cable.broadcast("room_1", 6)
    assert [room.receive(5) for _ in range(4)] == [3, 4, 5, 6]
    assert room.duplicates == 0


def test_it_says_when_what_it_missed_cannot_be_told(served: Served, make: Make) -> None:
    """Five messages are kept."""
    lost: list[str] = []
    room = make(backoff=Backoff(first_s=0.2)).subscribe(
        "RoomChannel", room=1, history_lost=lambda: lost.append("lost")
    )
    room.wait_confirmed()
    served.cable.broadcast("room_1", "heard")
    assert room.receive(5) == "heard"
    cut(served)
    for number in range(6):
        served.cable.broadcast("room_1", number)
    eventually(lambda: lost == ["lost"])
    served.cable.broadcast("room_1", "new")
    assert room.receive(5) == "new"


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        "[1]",
        "[" * 100_000,
        b'{"type":"ping"}',
        '{"identifier":7,"message":"?"}',
        '{"identifier":"i","message":"?","epoch":"e","offset":"last"}',
        '{"identifier":"i","type":"confirm_subscription","streams":{"a":1}}',
    ],
)
def test_it_comes_back_from_a_server_that_talks_nonsense(
    make: Make, caplog: pytest.LogCaptureFixture, frame: str | bytes
) -> None:
    def talk_nonsense(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        ws.send(frame)

    def behave(server: Scripted, ws: WebSocket) -> None:
        server.confirm(ws)
        server.say(ws, message="sense")

    with Scripted(talk_nonsense, behave) as server:
        room = make(f"{server.url}/?jid=secret").subscribe("RoomChannel")
        assert room.receive(10) == "sense"
    assert "reconnecting" in caplog.text
    assert "secret" not in caplog.text


def test_a_silent_connection_is_given_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_STALE_S", 0.05)
    monkeypatch.setattr(consumer, "_RESUBSCRIBE_S", 0.01)
    with WebSocketServer(("127.0.0.1", 0), _welcome_only) as server:
        make(server.url)
        eventually(lambda: server.endpoint.opened >= 3)


def test_it_goes_on_trying_while_the_server_is_not_there(make: Make) -> None:
    with gevent.socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = make(f"ws://127.0.0.1:{port}/cable")
    with pytest.raises(TimeoutError, match=r"did not welcome us in 0\.05 s"):
        client.wait_connected(timeout=0.05)
    with WebSocketServer(("127.0.0.1", port), _welcome_only):
        assert client.wait_connected().connected


@pytest.mark.parametrize("limit", ["max_sockets", "max_sockets_per_address"])
def test_it_comes_back_when_it_is_told_later(make: Make, limit: str) -> None:
    limits = Limits(**{limit: 1})
    with WebSocketServer(("127.0.0.1", 0), _welcome_only, limits=limits) as server:
        with connect(server.url):
            client = make(server.url)
            eventually(lambda: server.endpoint.refused[limit] >= 2)
            assert not client.connected
        client.wait_connected()


# The end


def test_a_refusal_is_final(served: Served, make: Make) -> None:
    client = make(f"ws://127.0.0.1:{served.port}/nowhere")
    with pytest.raises(HandshakeRefused, match="404"):
        client.wait_connected()
    with pytest.raises(HandshakeRefused):
        client.subscribe("RoomChannel", room=1).receive(1)


def test_whoever_is_sent_away_stays_away(served: Served, make: Make) -> None:
    told: list[bool] = []
    room = make(token="ann").subscribe("RoomChannel", room=1, disconnected=told.append)
    room.wait_confirmed()
    served.cable.disconnect({"user": "ann"}, reconnect=False)
    with pytest.raises(Disconnected, match="does not want us back: remote"):
        room.receive(5)
    assert told == [False]
    assert served.cable.endpoint.opened == 1
    with pytest.raises(Disconnected):
        room.wait_confirmed()


def test_whoever_is_rejected_is_told_so(make: Make) -> None:
    client = make(token="stranger")
    room = client.subscribe("RoomChannel", room=1)
    with pytest.raises(Disconnected, match="unauthorized") as caught:
        room.receive(5)
    assert caught.value.reason == "unauthorized"


def test_a_server_that_restarts_gets_it_back(served: Served, make: Make) -> None:
    told: list[bool] = []
    room = make().subscribe("RoomChannel", room=1, disconnected=told.append)
    room.wait_confirmed()
    served.cable.endpoint.close_all(reasons.SERVER_RESTART)
    eventually(lambda: told == [True])
    room.wait_confirmed()
    assert served.cable.endpoint.opened == 2


def test_a_token_that_cannot_be_had_is_final(served: Served, make: Make) -> None:
    tokens = iter(["ann"])
    client = make(token=lambda: next(tokens))
    room = client.subscribe("RoomChannel", room=1).wait_confirmed()
    cut(served)
    for ask in (room.receive, client.wait_connected, room.wait_confirmed):
        with pytest.raises(StopIteration):
            ask(5)
    assert room.state == "closed"
    assert not client.connected


def test_closing_ends_all_who_wait(make: Make) -> None:
    told: list[bool] = []
    with make() as client:
        room = client.subscribe("RoomChannel", room=1, disconnected=told.append)
        waiting = gevent.spawn(list, room.wait_confirmed())
    assert waiting.get(timeout=5) == []
    assert told == [False]
    assert room.state == "closed"
    with pytest.raises(ConsumerClosed, match="this consumer was closed"):
        client.wait_connected()
    with pytest.raises(ConsumerClosed, match="this consumer was closed"):
        room.perform("say", text="hi")
    assert client.subscribe("RoomChannel", room=2).state == "closed"


def test_it_may_be_closed_by_its_own_callback(make: Make) -> None:
    client = make()
    room = client.subscribe(
        "RoomChannel", room=1, received=lambda message: client.close()
    )
    room.wait_confirmed().perform("say", text="close")
    client._keeper.join(timeout=5)
    assert client._keeper.dead


def test_some_message_may_wait() -> None:
    with pytest.raises(LocalError, match="max_waiting is 0: give messages, 1 or more"):
        Consumer("ws://127.0.0.1:1/cable", max_waiting=0)
