"""A client that comes back: when it does, when it does not, and how it ends."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.event import Event
from gevent.server import StreamServer

from gateway import reasons
from gateway.errors import (
    Close,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeRefused,
    LocalError,
)
from gateway.reasons import CloseReason
from gateway.websocket import (
    Backoff,
    Limits,
    ReconnectingWebSocket,
    WebSocket,
    connect,
    reconnect,
)
from gateway.websocket.reconnect import is_final
from tests.support import eventually
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo

Keep = Callable[..., ReconnectingWebSocket]

FAST = Backoff(first_s=0.005, cap_s=0.02)


@pytest.fixture
def keep() -> Iterator[Keep]:
    """Make a client that comes back; it must leave no greenlet and no socket."""
    clients: list[ReconnectingWebSocket] = []

    def start(url: str, backoff: Backoff = FAST, **options: Any) -> Any:
        clients.append(connect(url, reconnect=backoff, **options))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
        assert client.closed
        assert client.socket is None
        assert client._keeper.dead


def greet(ws: WebSocket) -> None:
    """A handler that says one thing and closes."""
    ws.send("hi")


# How long to wait


def test_the_first_retry_comes_at_once_the_others_ever_more_slowly() -> None:
    delays = [Backoff(jitter=False).delay(retries) for retries in range(8)]
    assert delays == [0, 1, 2, 4, 8, 16, 30, 30]


def test_the_delays_can_be_chosen() -> None:
    backoff = Backoff(first_s=0.5, cap_s=3.0, jitter=False)
    assert [backoff.delay(retries) for retries in range(6)] == [0, 0.5, 1, 2, 3, 3]


def test_jitter_takes_any_time_up_to_the_longest() -> None:
    assert Backoff().delay(0) == 0
    for retries, longest in [(1, 1), (2, 2), (3, 4), (6, 30), (7, 30)]:
        delays = [Backoff().delay(retries) for _ in range(200)]
        assert 0 <= min(delays) < longest / 2 < max(delays) <= longest


def test_a_million_retries_do_not_overflow() -> None:
    assert Backoff(jitter=False).delay(10**6) == 30
    assert 0 <= Backoff().delay(10**6) <= 30


# Coming back


def test_it_comes_back_each_time_the_server_closes(serve: Serve, keep: Keep) -> None:
    server = serve(greet)
    client = keep(server.url)
    assert [client.receive(5) for _ in range(5)] == ["hi"] * 5
    assert server.endpoint.opened >= 5


def test_it_comes_back_when_the_connection_breaks(serve: Serve, keep: Keep) -> None:
    def break_off(ws: WebSocket) -> None:
        ws.send("hi")
        gevent.sleep(0)  # the end of the turn: it is written
        ws.abort()

    client = keep(serve(break_off).url)
    assert [client.receive(5) for _ in range(5)] == ["hi"] * 5


def test_it_comes_back_when_the_server_does(
    serve: Serve, keep: Keep, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    server = serve(echo, address=address)
    client = keep(server.url)
    for greeting in ("first", "second", "third"):
        client.send(greeting)
        assert client.receive(5) == greeting
        server.stop()
        eventually(lambda tried=client.retries: client.retries > tried + 2)
        assert client.socket is None
        assert not client.closed
        server = serve(echo, address=address)


def test_it_goes_on_trying_while_it_is_refused(serve: Serve, keep: Keep) -> None:
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))  # taken, but nobody listens
    client = keep(f"ws://127.0.0.1:{listener.getsockname()[1]}")
    eventually(lambda: client.retries > 2)
    listener.listen()
    serve(greet, address=listener)
    assert client.receive(5) == "hi"


def test_it_goes_on_trying_while_the_server_is_full(serve: Serve, keep: Keep) -> None:
    server = serve(echo, limits=Limits(max_sockets=1))
    with connect(server.url):
        client = keep(server.url)
        eventually(lambda: server.endpoint.refused["max_sockets"] > 2)
        assert client.socket is None
    client.send("in")
    assert client.receive(5) == "in"


def test_it_goes_on_trying_while_its_address_has_too_many(
    serve: Serve, keep: Keep
) -> None:
    server = serve(echo, limits=Limits(max_sockets_per_address=1))
    with connect(server.url):
        client = keep(server.url)
        eventually(lambda: server.endpoint.refused["max_sockets_per_address"] > 2)
    client.send("in")
    assert client.receive(5) == "in"


def test_retries_are_counted_until_a_connection_was_stable(
    serve: Serve, keep: Keep
) -> None:
    server = serve(greet)
    unstable = keep(server.url, Backoff(first_s=0.001, cap_s=0.001))
    assert [unstable.receive(5) for _ in range(5)] == ["hi"] * 5
    assert unstable.retries >= 4
    stable = keep(server.url, Backoff(first_s=0.001, cap_s=0.001, stable_s=0.0))
    assert [stable.receive(5) for _ in range(5)] == ["hi"] * 5
    assert stable.retries <= 1


def test_a_callback_is_no_part_of_the_time_that_a_connection_held(
    serve: Serve, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(reconnect, "monotonic", lambda: now[0])

    def take_an_hour(client: ReconnectingWebSocket) -> None:
        now[0] += 3600

    client = keep(serve(greet).url, on_close=take_an_hour)
    assert [client.receive(5) for _ in range(4)] == ["hi"] * 4
    assert client.retries >= 3


def test_connecting_says_true_for_the_usual_backoff(serve: Serve) -> None:
    with connect(serve(echo).url, reconnect=True) as client:
        client.send("hi")
        assert client.receive(5) == "hi"
        assert client._backoff == Backoff()


# Giving up


def assert_it_gave_up(client: ReconnectingWebSocket, error: type[Exception]) -> None:
    """Whatever the program tries, it is told why."""
    for attempt in (client.receive, lambda: client.send("x"), lambda: list(client)):
        with pytest.raises(error):
            attempt()
    assert client.closed
    assert client.retries == 0


def test_it_gives_up_when_it_may_not_come(serve: Serve, keep: Keep) -> None:
    server = serve(echo, origins=["https://app.net"])
    client = keep(server.url, origin="https://evil.net")
    with pytest.raises(HandshakeRefused, match="403 Forbidden"):
        client.send("to nobody")  # was waiting when it became known
    assert_it_gave_up(client, HandshakeRefused)
    assert server.endpoint.opened == 0


def test_it_gives_up_on_a_bad_certificate(
    serve: Serve, keep: Keep, certificate: Certificate
) -> None:
    server = serve(echo, ssl_context=certificate.server())
    assert_it_gave_up(keep(server.url), ssl.SSLCertVerificationError)


@pytest.mark.parametrize("url", ["http://example.com", "ws://localhost:65536"])
def test_it_gives_up_on_a_url_that_cannot_be_used(keep: Keep, url: str) -> None:
    assert_it_gave_up(keep(url), LocalError)


def test_what_is_about_this_moment_only() -> None:
    for status, final in [
        *((302, True), (400, True), (401, True), (403, True), (404, True)),
        *((408, False), (425, False), (429, False)),
        *((101, False), (500, False), (502, False), (503, False)),
    ]:
        assert is_final(HandshakeRefused(status, "why")) is final


@pytest.mark.parametrize("name", ["first_s", "cap_s", "stable_s"])
def test_waits_that_cannot_be(name: str) -> None:
    for value in (-1, "1", None, float("inf")):
        with pytest.raises(LocalError, match=f"{name} = {value!r} cannot be used"):
            Backoff(**{name: value})  # type: ignore[arg-type]


# What can be asked


def test_what_can_be_asked_of_the_latest_connection(serve: Serve, keep: Keep) -> None:
    release = Event()
    client = keep(
        f"{serve(echo, subprotocols=['chat']).url}/room",
        subprotocols=["chat"],
        headers={"X-Name": "ann"},
        on_open=lambda client: release.wait(),
    )
    assert client.subprotocol is None
    assert client.close_code is None
    assert client.close_reason is None
    with pytest.raises(LocalError, match="there was no connection yet"):
        _ = client.path
    with pytest.raises(ConnectionClosedError):
        client.ping()
    release.set()
    client.send_json({"a": 1})
    assert client.receive(5) == '{"a":1}'
    assert 0 < client.ping() < 5
    assert (client.path, client.subprotocol) == ("/room", "chat")
    assert client.headers["x-name"] == "ann"
    assert client.remote_address == "127.0.0.1"
    assert client.request.response_headers["upgrade"] == "websocket"
    assert client.close_code is None
    client.close()
    assert client.close_code == 1000
    assert client.path == "/room"


# Callbacks


def test_callbacks_take_turns(serve: Serve, keep: Keep) -> None:
    calls: list[tuple[str, bool]] = []
    client = keep(
        serve(greet).url,
        on_open=lambda client: calls.append(("open", client.socket is None)),
        on_close=lambda client: calls.append(("close", client.socket is None)),
    )
    for _ in range(3):
        assert client.receive(5) == "hi"
    client.close()
    turn = [("open", False), ("close", True)]
    assert calls == turn * (len(calls) // 2)
    assert len(calls) >= 6


def test_what_is_said_on_opening_comes_first(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url, on_open=lambda client: client.send("subscribe"))
    client.send("later")
    assert [client.receive(5), client.receive(5)] == ["subscribe", "later"]
    assert client.socket is not None
    client.socket.abort()
    assert client.receive(5) == "subscribe"


def test_a_callback_that_fails_is_logged_and_does_no_harm(
    serve: Serve, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    client = keep(serve(greet).url, on_open=lambda _: 1 / 0, on_close=lambda _: {}[1])
    assert [client.receive(5), client.receive(5)] == ["hi", "hi"]
    assert "a callback failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "KeyError" in caplog.text


def test_a_callback_talks_to_the_socket_of_the_moment(serve: Serve, keep: Keep) -> None:
    def log_in(client: ReconnectingWebSocket) -> None:
        assert client.socket is not None
        client.send("name")
        answers.append(client.socket.receive(5))

    answers: list[str | bytes] = []
    client = keep(serve(echo).url, on_open=log_in)
    client.send("hi")
    assert client.receive(5) == "hi"
    assert answers == ["name"]


def test_a_callback_does_not_wait_for_itself(
    serve: Serve, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    client = keep(
        serve(greet).url,
        on_open=lambda client: client.receive(),
        on_close=lambda client: client.send("too late"),
    )
    assert [client.receive(5), client.receive(5)] == ["hi", "hi"]
    assert "a callback receives from the socket itself" in caplog.text
    assert "gateway.errors.ConnectionClosed" in caplog.text


def test_a_callback_that_never_returns_ends_with_the_client(
    serve: Serve, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconnect, "_CALLBACK_S", 0.01)
    client = keep(serve(echo).url, on_open=lambda client: gevent.sleep(1000))
    eventually(lambda: client.socket)
    client.close()
    assert client._keeper.dead


# Sending


def test_a_sender_waits_for_a_connection(
    serve: Serve, keep: Keep, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    client = keep(f"ws+unix://{path}")
    sending = gevent.spawn(client.send, "at last")
    eventually(lambda: client.retries > 2)
    assert not sending.ready()
    serve(echo, address=f"unix:{path}")
    assert client.receive(5) == "at last"
    assert sending.ready()


def test_a_sender_does_not_use_a_connection_that_is_closing(
    serve: Serve, keep: Keep
) -> None:
    server = serve(echo)
    client = keep(server.url)
    eventually(lambda: client.socket)
    assert client.socket is not None
    client.socket.start_close(reasons.NORMAL)
    client.send("by the next")
    assert client.receive(5) == "by the next"
    assert server.endpoint.opened == 2


def test_a_sender_is_not_fooled_by_a_connection_that_goes_at_once(
    serve: Serve, keep: Keep
) -> None:
    def drop_the_first(client: ReconnectingWebSocket) -> None:
        if client.retries == 0:
            assert client.socket is not None
            client.socket.abort()

    client = keep(serve(echo).url, on_open=drop_the_first)
    client.send("by the second")
    assert client.receive(5) == "by the second"


def test_a_sender_waits_until_the_last_moment(
    serve: Serve, keep: Keep, tmp_path: Path
) -> None:
    client = keep(f"ws+unix://{tmp_path / 'nobody'}")
    sending = gevent.spawn(client.send, "never")
    eventually(lambda: client.retries > 2)
    client.close()
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=5)


# Receiving


def test_receiving_can_time_out(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url)
    with pytest.raises(TimeoutError, match=r"nothing in 0\.01 s"):
        client.receive(timeout=0.01)
    client.send("no harm done")
    assert client.receive(5) == "no harm done"


def test_a_program_that_does_not_receive_slows_the_server_down(
    serve: Serve, keep: Keep
) -> None:
    def pour(ws: WebSocket) -> None:
        for number in range(2000):
            ws.send(f"{number} " * 1000)

    server = serve(pour)
    client = keep(server.url)
    eventually(lambda: client.socket and client.socket._paused)
    received = [client.receive(5) for _ in range(2000)]
    assert received == [f"{number} " * 1000 for number in range(2000)]


def test_a_program_that_receives_behind_its_back_is_told(
    serve: Serve, keep: Keep
) -> None:
    def steal(client: ReconnectingWebSocket) -> None:
        assert client.socket is not None
        thieves.append(gevent.spawn(client.socket.receive))
        gevent.sleep(0)

    thieves: list[gevent.Greenlet[..., object]] = []
    client = keep(serve(echo).url, on_open=steal)
    with pytest.raises(LocalError, match="another greenlet is already receiving"):
        client.receive(5)
    gevent.killall(thieves)


# Closing


def test_closing_is_for_good(serve: Serve, keep: Keep) -> None:
    codes: list[int | None] = []
    server = serve(on_close=lambda ws: codes.append(ws.close_code))
    client = keep(server.url)
    eventually(lambda: client.socket)
    client.close(4000, "enough")
    client.close()
    for attempt in (
        client.receive,
        client.receive,
        client.ping,
        lambda: client.send("x"),
        lambda: client.send_json({}),
    ):
        with pytest.raises(ConnectionClosedError) as closed:
            attempt()
        assert closed.value.received == closed.value.sent == Close(4000, "enough")
    assert list(client) == []
    assert client.close_code == 4000
    assert client.close_reason == CloseReason("closed_by_us", 4000, "enough")
    eventually(lambda: codes == [4000])
    assert server.endpoint.opened == 1


def test_closing_as_agreed_is_no_error(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url)
    client.send("hi")
    assert client.receive(5) == "hi"
    client.close()
    with pytest.raises(ConnectionClosedOK, match="received 1000, sent 1000"):
        client.receive()


@pytest.mark.parametrize(
    ("code", "kind"), [(1000, ConnectionClosedOK), (4000, ConnectionClosedError)]
)
def test_closing_without_a_connection(
    keep: Keep, tmp_path: Path, code: int, kind: type[ConnectionClosed]
) -> None:
    client = keep(f"ws+unix://{tmp_path / 'nobody'}")
    client.close(code, "enough")
    with pytest.raises(kind) as closed:
        client.receive()
    assert (closed.value.received, closed.value.sent) == (None, Close(code, "enough"))


def test_closing_with_a_code_that_cannot_be_sent(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url)
    with pytest.raises(LocalError, match="close code 2 cannot be sent"):
        client.close(2)
    client.send("still open")
    assert client.receive(5) == "still open"


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (ValueError, 1011)])
def test_leaving_the_with_block_says_how(
    serve: Serve, error: type[Exception] | None, code: int
) -> None:
    codes: list[int | None] = []
    server = serve(on_close=lambda ws: codes.append(ws.close_code))
    with suppress(ValueError), connect(server.url, reconnect=True) as client:
        client.send("hi")
        if error is not None:
            raise error
    eventually(lambda: codes == [code])


def test_iteration_ends_when_another_greenlet_closes(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url)
    heard: list[str | bytes] = []
    reading = gevent.spawn(lambda: heard.extend(client))
    client.send("one")
    client.send("two")
    eventually(lambda: len(heard) == 2)
    client.close()
    reading.get(timeout=5)
    assert heard == ["one", "two"]


def test_what_came_before_the_end_is_still_received(serve: Serve, keep: Keep) -> None:
    client = keep(serve(echo).url)
    client.send("last words")
    eventually(lambda: client.socket and client.socket.waiting)
    client.close()
    assert list(client) == ["last words"]


@pytest.mark.parametrize("left", [1, 2])
def test_what_a_lost_connection_has_brought_is_kept_until_the_next_is_lost(
    serve: Serve, keep: Keep, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    """So that a program that only sends does not keep it for ever."""
    server = serve(echo)
    client = keep(server.url)
    for number in range(left):
        client.send(f"message {number}")
        ws = eventually(lambda: client.socket)
        eventually(lambda ws=ws: ws.waiting)
        ws.abort()
        eventually(lambda number=number: server.endpoint.opened == number + 2)
    client.send("the next")
    assert client.receive(5) == f"message {left - 1}"
    assert client.receive(5) == "the next"
    lost = "1 messages of a lost connection were not received"
    assert caplog.messages == [lost] * (left - 1)


def test_a_program_that_only_sends_comes_back(serve: Serve, keep: Keep) -> None:
    """Though what it is told fills all there is to fill, and nobody takes it."""
    heard: list[str | bytes] = []

    def answer(ws: WebSocket) -> None:
        for message in ws:
            heard.append(message)
            ws.send("acknowledged")
            if len(heard) == 150:
                ws.abort()

    server = serve(answer)
    client = keep(server.url)
    while server.endpoint.opened < 2:
        client.send("news")
        gevent.sleep(0)
    client.send("the last")
    eventually(lambda: heard[-1] == "the last")


@pytest.mark.parametrize("callback", ["on_open", "on_close"])
def test_closing_in_a_callback(serve: Serve, keep: Keep, callback: str) -> None:
    server = serve(greet)
    client = keep(server.url, **{callback: lambda client: client.close()})
    assert set(client) <= {"hi"}
    eventually(lambda: client._keeper.dead)
    assert server.endpoint.opened == 1


def test_closing_while_it_waits_to_try_again(keep: Keep, tmp_path: Path) -> None:
    calm = Backoff(first_s=60, cap_s=60, jitter=False)
    client = keep(f"ws+unix://{tmp_path / 'nobody'}", calm)
    eventually(lambda: client.retries == 2)
    client.close()
    assert list(client) == []


def test_closing_while_it_connects(keep: Keep) -> None:
    left: list[bytes] = []

    def dawdle(sock: Any, address: Any) -> None:
        while data := sock.recv(65536):
            assert data.startswith(b"GET / ")
        left.append(data)

    server = StreamServer(("127.0.0.1", 0), dawdle)
    server.start()
    client = keep(f"ws://127.0.0.1:{server.server_port}", open_timeout=60)
    sending = gevent.spawn(client.send, "never")
    gevent.sleep(0.02)  # nothing tells from outside that it has asked
    client.close()
    eventually(lambda: left == [b""])
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=5)
    server.stop()


def test_closing_while_nobody_receives(serve: Serve, keep: Keep) -> None:
    def pour(ws: WebSocket) -> None:
        while True:
            ws.send("more")

    closed: list[bool] = []
    limits = Limits(close_timeout_s=0.05)
    client = keep(
        serve(pour, limits=limits).url,
        limits=limits,
        on_close=lambda client: closed.append(client.closed),
    )
    eventually(lambda: client.socket and client.socket.waiting > 32)
    client.close()
    assert closed == [True]
    assert client.socket is None


def test_a_callback_that_waits_is_not_cut_short(serve: Serve, keep: Keep) -> None:
    saved: list[str] = []

    def save(client: ReconnectingWebSocket) -> None:
        gevent.sleep(0.01)  # a database, say
        saved.append("saved")

    client = keep(serve(echo).url, on_close=save)
    eventually(lambda: client.socket)
    client.close()
    assert saved == ["saved"]


def test_attempts_are_in_the_log(
    keep: Keep, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway.websocket"):
        client = keep(f"ws+unix://{tmp_path / 'nobody'}")
        eventually(lambda: client.retries > 1)
    assert "not connected: [Errno 2] No such file or directory" in caplog.text
