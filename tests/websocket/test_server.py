"""The stand-alone server: three styles, addresses, TLS, stopping."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import gevent
import gevent.local
import gevent.socket
import pytest

from gateway import reasons
from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import WebSocket, WebSocketServer, connect
from tests.support import eventually
from tests.support.raw import RawClient
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo, raw


def test_callbacks(serve: Serve) -> None:
    calls: list[object] = []

    def on_message(ws: WebSocket, message: str | bytes) -> None:
        if message == "fail":
            raise ValueError("on purpose")
        ws.send(f"Echo: {message!s}")

    server = serve(
        on_open=lambda ws: calls.append(ws.path),
        on_message=on_message,
        on_close=lambda ws: calls.append(ws.close_code),
        on_error=lambda ws, exc: calls.append(str(exc)),
    )
    with connect(f"{server.url}/chat") as ws:
        ws.send("hi")
        assert ws.receive() == "Echo: hi"
        ws.send("fail")
        ws.send("still open")
        assert ws.receive() == "Echo: still open"
    eventually(lambda: len(calls) == 3)
    assert calls == ["/chat", "on purpose", 1000]


def test_callbacks_are_optional(serve: Serve) -> None:
    server = serve(on_message=lambda ws, message: 1 / 0)
    with connect(server.url) as ws:
        ws.send("fail")
        assert ws.wait_closed(5)
    assert ws.close_code == 1011
    server = serve(on_close=lambda ws: None)
    with connect(server.url) as ws:
        ws.send("ignored")


def test_a_handlers_error_can_be_handled(serve: Serve) -> None:
    errors: list[str] = []
    server = serve(
        lambda ws: 1 / 0, on_error=lambda ws, exc: errors.append(type(exc).__name__)
    )
    with connect(server.url) as ws:
        assert ws.wait_closed(5)
    assert errors == ["ZeroDivisionError"]


def fail(*_: object) -> None:
    raise ValueError("on purpose")


def expire(*_: object) -> None:
    raise gevent.Timeout(1)


@pytest.mark.parametrize("failing", [fail, expire])
def test_a_socket_whose_opening_fails_is_closed(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    failing: Callable[..., object],
) -> None:
    calls: list[int | None] = []
    server = serve(on_open=failing, on_close=lambda ws: calls.append(ws.close_code))
    with connect(server.url) as ws:
        assert ws.wait_closed(5)
    assert ws.close_code == 1011
    eventually(lambda: calls == [1011])
    assert "the program failed" in caplog.text


def test_an_opening_that_fails_can_be_handled(serve: Serve) -> None:
    errors: list[str] = []
    server = serve(
        on_open=fail,
        on_message=lambda ws, message: ws.send(message),
        on_error=lambda ws, exc: errors.append(str(exc)),
    )
    with connect(server.url) as ws:
        ws.send("open")
        assert ws.receive(5) == "open"
    assert errors == ["on purpose"]


@pytest.mark.parametrize("style", ["handler", "on_open", "on_message"])
def test_an_error_handler_that_fails_closes_the_socket(
    serve: Serve, caplog: pytest.LogCaptureFixture, style: str
) -> None:
    server = serve(**{style: fail}, on_error=lambda ws, exc: 1 / 0)
    with connect(server.url) as ws:
        ws.send("hi")
        assert ws.wait_closed(5)
    assert ws.close_code == 1011
    assert "ZeroDivisionError" in caplog.text


def test_a_handler_that_leaves_by_a_timeout_closes_its_socket(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(serve(expire).url) as ws:
        assert ws.wait_closed(5)
    assert ws.close_code == 1011
    assert "the program failed" in caplog.text


@pytest.mark.parametrize("style", ["handler", "on_open", "on_message"])
def test_a_program_that_exits_its_greenlet_closes_its_socket(
    serve: Serve, caplog: pytest.LogCaptureFixture, style: str
) -> None:
    """That is gevent's way to end quietly, so it is no failure."""
    ends: list[int | None] = []

    def exit_greenlet(*_: object) -> None:
        raise gevent.GreenletExit

    callbacks = {} if style == "handler" else {"on_close": lambda ws: ends.append(1)}
    server = serve(**{style: exit_greenlet}, **callbacks)
    for _ in range(2):
        with connect(server.url) as ws:
            ws.send("hi")
            assert ws.wait_closed(5)
        assert ws.close_code == 1000
    assert not caplog.records
    eventually(lambda: len(ends) == 2 * len(callbacks))


def test_a_connection_finds_nothing_of_the_one_before(serve: Serve) -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")
    here = gevent.local.local()

    def introduce(ws: WebSocket) -> None:
        ws.send(f"{name.get()}, {getattr(here, 'name', 'nobody')}")
        here.name = str(ws.receive())
        name.set(here.name)

    def reply(ws: WebSocket, message: str | bytes) -> None:
        ws.send(name.get())
        name.set(str(message))

    server = serve(introduce)
    for visitor in ("ann", "bob"):
        with connect(server.url) as ws:
            assert ws.receive(5) == "nobody, nobody"
            ws.send(visitor)
        eventually(lambda: not server.endpoint.workers.busy)
    server = serve(on_message=reply)
    for visitor in ("ann", "bob"):
        with connect(server.url) as ws:
            ws.send(visitor)
            assert ws.receive(5) == "nobody"


@pytest.mark.parametrize("style", ["handler", "on_open", "on_message"])
@pytest.mark.parametrize("handled", [True, False])
def test_a_peer_that_leaves_is_no_failure_of_the_program(
    serve: Serve, caplog: pytest.LogCaptureFixture, style: str, handled: bool
) -> None:
    ended: list[bool] = []
    errors: list[object] = []

    def talk(ws: WebSocket, *_: object) -> None:
        ws.wait_closed()
        ended.append(True)
        ws.send("to nobody")

    on_error = (lambda ws, exc: errors.append(exc)) if handled else None
    server = serve(**{style: talk}, on_error=on_error)
    client = raw(server)
    client.send_text("hi")
    eventually(lambda: server.endpoint.messages_in)
    client.reset()
    eventually(lambda: ended and not server.endpoint.workers.busy)
    assert not errors
    assert not caplog.records


def test_a_failure_with_another_socket_is_one(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    other = connect(serve(echo).url)
    other.close()
    server = serve(on_message=lambda ws, message: other.send(message))
    with connect(server.url) as ws:
        ws.send("hi")
        assert ws.wait_closed(5)
    assert ws.close_code == 1011
    assert "ConnectionClosed" in caplog.text


def test_iteration(serve: Serve) -> None:
    server = WebSocketServer(("127.0.0.1", 0))

    def accept() -> None:
        for ws in server:
            gevent.spawn(echo, ws)

    accepting = gevent.spawn(accept)
    eventually(lambda: server._server.started)
    with connect(server.url) as ws:
        ws.send("hi")
        assert ws.receive() == "hi"
    server.stop()
    accepting.get(timeout=5)


def test_a_socket_that_came_before_anybody_iterates_is_handed_out(
    serve: Serve,
) -> None:
    server = serve()
    with connect(server.url) as ws:
        ws.send("early")
        accepted = next(iter(server))
        assert accepted.receive(5) == "early"
        accepted.send("bird")
        assert ws.receive(5) == "bird"
        accepted.start_close(reasons.NORMAL)


def test_all_who_iterate_end_with_the_server(serve: Serve) -> None:
    server = serve()
    iterating = [gevent.spawn(list, server) for _ in range(2)]
    gevent.sleep(0)
    server.stop()
    assert [each.get(timeout=5) for each in iterating] == [[], []]
    assert list(server) == []


def test_serving_for_ever_needs_somebody_who_serves(serve: Serve) -> None:
    server = serve(on_error=lambda ws, exc: None)
    with pytest.raises(LocalError, match="neither handler nor callbacks: iterate"):
        server.serve_forever()


def test_styles_do_not_mix(serve: Serve) -> None:
    with pytest.raises(LocalError, match="not both"):
        WebSocketServer(("127.0.0.1", 0), echo, on_message=lambda ws, message: None)
    with pytest.raises(LocalError, match="to a handler or callbacks"):
        next(iter(serve(echo)))


def test_tls(serve: Serve, certificate: Certificate) -> None:
    server = serve(echo, ssl_context=certificate.server())
    assert server.url.startswith("wss://")
    with connect(server.url, ssl_context=certificate.client()) as ws:
        for message in ["hi", b"x" * 900_000, "y" * 70_000]:
            ws.send(message)
            assert ws.receive() == message
        ws.ping()
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server.url)


def test_tls_with_a_reader_who_lags(serve: Serve, certificate: Certificate) -> None:
    def pour(ws: WebSocket) -> None:
        for number in range(300):
            ws.send(number.to_bytes(2, "big") * 10_000)

    server = serve(pour, ssl_context=certificate.server())
    with connect(server.url, ssl_context=certificate.client()) as ws:
        gevent.sleep(0.1)
        received = list(ws)
    assert received == [number.to_bytes(2, "big") * 10_000 for number in range(300)]


def test_plain_http_on_a_tls_port(serve: Serve, certificate: Certificate) -> None:
    server = serve(echo, ssl_context=certificate.server())
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    client.receive_eof()
    with connect(server.url, ssl_context=certificate.client()) as ws:
        ws.send("unharmed")
        assert ws.receive() == "unharmed"


def test_subprotocols_and_headers(serve: Serve) -> None:
    server = serve(
        lambda ws: ws.send(f"{ws.subprotocol} {ws.headers['x-token']}"),
        subprotocols=["chat.v2", "chat.v1"],
    )
    with connect(
        server.url, subprotocols=["chat.v1", "chat.v2"], headers={"X-Token": "secret"}
    ) as ws:
        assert ws.subprotocol == "chat.v1"
        assert ws.receive() == "chat.v1 secret"


def test_origins(serve: Serve) -> None:
    server = serve(echo, origins=["https://app.net"])
    connect(server.url, origin="https://app.net").close()
    connect(server.url).close()
    with pytest.raises(HandshakeRefused, match="403 Forbidden: This origin"):
        connect(server.url, origin="https://evil.net")


def test_a_plain_request_is_told_what_this_is(serve: Serve) -> None:
    client = RawClient(int(serve(echo).url.rsplit(":", 1)[1]))
    status, headers, body = client.request(headers={"Upgrade": None})
    assert status == 426
    assert headers["upgrade"] == "websocket"
    assert b"WebSocket only" in body


def test_compression_can_be_turned_off(serve: Serve) -> None:
    server = serve(echo, compression=False)
    with connect(server.url) as ws:
        assert ws.outbox.encoding == 16


def test_stopping_closes_sockets_with_1001(serve: Serve) -> None:
    server = serve(echo)
    ws = connect(server.url)
    server.stop()
    assert ws.wait_closed(5)
    assert ws.close_code == 1001
    with pytest.raises(ConnectionRefusedError):
        connect(server.url)


def test_stopping_does_not_wait_for_ever(serve: Serve) -> None:
    server = serve(echo)
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    client.request()
    server.stop(timeout=0.05)
    assert client.receive_close()[0] == 1001


def test_stopping_waits_as_long_as_it_takes(serve: Serve) -> None:
    ended: list[str] = []

    def take_time(ws: WebSocket) -> None:
        ws.wait_closed()
        gevent.sleep(0.05)
        ended.append("in its own time")

    server = serve(take_time)
    with connect(server.url):
        server.stop(timeout=None)
    assert ended == ["in its own time"]


@pytest.mark.parametrize("style", ["handler", "on_open", "on_message", "on_close"])
def test_a_program_may_stop_its_server(serve: Serve, style: str) -> None:
    """And go on: it is not killed for what it has asked for."""
    ended: list[str] = []

    def stop(ws: WebSocket, *_: object) -> None:
        server.stop(timeout=60)
        gevent.sleep(0)
        ended.append(style)

    server = serve(**{style: stop})
    ws = connect(server.url)
    ws.send("hi")
    if style == "on_close":
        ws.close()
    assert ws.wait_closed(5)
    assert ws.close_code == (1000 if style == "on_close" else 1001)
    eventually(lambda: ended == [style])
    with pytest.raises(ConnectionRefusedError):
        connect(server.url)


def test_who_stops_a_server_that_stops_waits_for_it(serve: Serve) -> None:
    server = serve(echo)
    client = raw(server)
    stopping = [gevent.spawn(server.stop, None) for _ in range(2)]
    assert client.receive_close()[0] == 1001
    assert not any(each.ready() for each in stopping)
    client.close()
    gevent.joinall(stopping, timeout=5, raise_error=True)
    assert all(each.ready() for each in stopping)


def test_a_server_that_was_stopped_does_not_start(serve: Serve) -> None:
    server = serve(echo)
    server.start()  # again is harmless
    server.stop()
    for again in (server.start, server.serve_forever, server.__enter__):
        with pytest.raises(LocalError, match="make a new one"):
            again()


def test_serving_for_ever_ends_with_stop() -> None:
    server = WebSocketServer(("127.0.0.1", 0), echo)
    serving = gevent.spawn(server.serve_forever)
    eventually(lambda: server._server.started)
    connect(server.url).close()
    server.stop()
    serving.get(timeout=5)


def test_whatever_interrupts_it_stops_the_server() -> None:
    """Its sockets are told, as with any other way to stop."""
    server = WebSocketServer(("127.0.0.1", 0), echo)
    serving = gevent.spawn(server.serve_forever)
    eventually(lambda: server._server.started)
    ws = connect(server.url)
    serving.kill(ZeroDivisionError, block=False)
    assert ws.wait_closed(5)
    assert ws.close_code == 1001
    with pytest.raises(ZeroDivisionError):
        serving.get(timeout=5)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"subprotocols": "chat.v1"}, r"a list of names, .* write \['chat.v1'\]"),
        ({"subprotocols": ["chat v1"]}, "subprotocol 'chat v1' cannot be sent"),
        ({"subprotocols": [b"chat"]}, "subprotocol b'chat' cannot be sent"),
        ({"origins": "https://a.net"}, r"write \['https://a.net'\]"),
        ({"origins": ["a.net"]}, "origin 'a.net' is what no page has"),
        ({"ping_interval_s": 0}, "ping_interval_s = 0 cannot"),
        ({"ping_timeout_s": 30}, "ping_timeout_s = 30 cannot"),
    ],
)
def test_terms_that_cannot_be(terms: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        WebSocketServer(("127.0.0.1", 0), echo, **terms)


def test_the_log_is_quiet_about_normal_traffic(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway.websocket"):
        connect(serve(echo).url).close()
    assert not caplog.records
