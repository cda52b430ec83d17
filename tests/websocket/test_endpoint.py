"""What sockets share: how many there may be, how they are counted, how they end."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event
from websockets.frames import Opcode

from gateway import reasons
from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import Endpoint, Limits, WebSocket, connect
from tests.support import eventually
from tests.support.raw import frame
from tests.websocket.conftest import Serve, echo, raw

# Counting


def test_sockets_are_counted_by_how_they_ended(serve: Serve) -> None:
    server = serve(echo)
    endpoint = server.endpoint
    connect(server.url).close()
    raw(server).close()
    with raw(server) as client:
        client.send(frame(Opcode.TEXT, b"\xff"))
        client.receive_close()
    eventually(lambda: not endpoint.sockets)
    assert endpoint.opened == 3
    assert endpoint.closed == {"closed_by_peer": 1, "lost": 1, "invalid_payload": 1}


def test_the_heartbeat_forgets_who_has_gone(serve: Serve) -> None:
    server = serve(echo, ping_interval_s=1.0)
    wheel = server.endpoint._wheel
    assert wheel is not None
    sockets = [connect(server.url) for _ in range(16)]
    assert {len(slot) for slot in wheel.slots} == {2}
    for ws in sockets:
        ws.close()
    eventually(lambda: not any(wheel.slots))


def test_the_heartbeat_finds_the_silent(serve: Serve) -> None:
    limits = Limits(close_timeout_s=0.01)
    server = serve(echo, ping_interval_s=0.25, ping_timeout_s=0.25, limits=limits)
    client = raw(server)
    for _ in range(2):
        ping = client.receive()
        assert ping is not None
        assert ping.opcode is Opcode.PING
        client.send(frame(Opcode.PONG, bytes(ping.data)))
    assert not server.endpoint.closed
    assert client.receive_close() == (1011, "No answer to pings")
    eventually(lambda: server.endpoint.closed == {"no_pong": 1})


def test_without_a_heartbeat(serve: Serve) -> None:
    server = serve(echo, ping_interval_s=None)
    with connect(server.url) as ws:
        ws.send("hi")
        assert ws.receive(5) == "hi"


# The end


def test_closing_all_at_once(serve: Serve) -> None:
    server = serve(echo)
    sockets = [connect(server.url) for _ in range(5)]
    server.endpoint.close_all()
    assert server.endpoint.wait_closed(5)
    for ws in sockets:
        assert ws.wait_closed(5)
        assert ws.close_code == 1001
    server.endpoint.close_all()  # nobody is left
    assert server.endpoint.wait_closed(0)


def test_closing_for_a_reason(serve: Serve) -> None:
    server = serve(echo)
    ws = connect(server.url)
    server.endpoint.close_all(reasons.NO_BROKER)
    assert ws.wait_closed(5)
    assert ws.close_code == 1013


@pytest.mark.parametrize("number", [1, 3])
def test_nobody_waits_when_the_last_has_been_told(serve: Serve, number: int) -> None:
    """A pause is between two sockets."""

    class Hurry(Event):
        def wait(self, timeout: float | None = None) -> Any:
            pauses.append(timeout)
            return self.is_set()

    pauses: list[float | None] = []
    server = serve(echo)
    for _ in range(number):
        connect(server.url)
    eventually(lambda: len(server.sockets) == number)
    server.endpoint.close_all(spread_s=600, hurry=Hurry())
    assert pauses == [600 / number] * (number - 1)
    assert server.endpoint.wait_closed(None)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"ping_interval_s": 0}, "ping_interval_s = 0 cannot be used: give seconds"),
        ({"ping_interval_s": -1}, "ping_interval_s = -1 cannot"),
        ({"ping_interval_s": "25"}, "ping_interval_s = '25' cannot"),
        ({"ping_timeout_s": -5}, "ping_timeout_s = -5 cannot"),
        (
            {"ping_interval_s": 1, "ping_timeout_s": 60},
            "ping_timeout_s = 60 cannot be used: the next ping would come before, "
            "after 1 s",
        ),
    ],
)
def test_heartbeats_that_cannot_be(terms: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        Endpoint(**terms)


@pytest.mark.parametrize(("interval", "after"), [(25.0, 20.0), (5.0, 5.0)])
def test_the_silent_have_twenty_seconds_or_the_interval(
    interval: float, after: float
) -> None:
    endpoint = Endpoint(ping_interval_s=interval)
    wheel = endpoint._wheel
    assert wheel is not None
    assert wheel._lag * wheel._tick_s == pytest.approx(after)
    endpoint.stop()


def test_closing_one_after_the_other(serve: Serve) -> None:
    server = serve(echo)
    sockets = [connect(server.url) for _ in range(6)]
    closing = gevent.spawn(server.endpoint.close_all, spread_s=600)
    eventually(lambda: len(server.sockets) == 5)
    for ws in sockets:
        if not ws.closed:
            ws.send("still open")
            assert ws.receive(5) == "still open"
    closing.kill()
    closing = gevent.spawn(server.endpoint.close_all, spread_s=0.05)
    sockets[0].close()  # by itself, meanwhile
    closing.get(timeout=5)
    assert server.endpoint.wait_closed(5)


def test_whoever_does_not_answer_is_dropped_in_the_end(serve: Serve) -> None:
    server = serve(echo)
    client = raw(server)
    server.endpoint.close_all()
    assert client.receive_close()[0] == 1001
    assert not server.endpoint.wait_closed(0.01)
    server.endpoint.stop()
    client.receive_eof()
    assert not server.sockets


def test_stopping_ends_handlers_that_hang(serve: Serve) -> None:
    ended: list[str] = []

    def hang(ws: WebSocket) -> None:
        try:
            gevent.sleep(1000)
        finally:
            ended.append("hang")

    server = serve(hang)
    client = raw(server)
    server.endpoint.stop(timeout=0.01)
    client.receive_eof()
    assert ended == ["hang"]
    assert server.endpoint.workers.busy == 0


def test_refusals_are_logged_as_warnings(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(echo, limits=Limits(max_sockets=1))
    with connect(server.url), pytest.raises(HandshakeRefused):
        connect(server.url)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
