"""Programs written for gevent-websocket, on its own handler and on ours."""

from __future__ import annotations

import gc
import logging
import ssl
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import gevent.ssl
import pytest
from flask import Flask, request
from gevent.pywsgi import WSGIServer
from geventwebsocket import Resource, WebSocketApplication, WebSocketError
from geventwebsocket import WebSocketServer as OldServer
from geventwebsocket.handler import WebSocketHandler
from geventwebsocket.protocols.base import BaseProtocol
from websockets.frames import Opcode

from gateway.errors import HandshakeRefused
from gateway.websocket import UpgradeHandler, connect, legacy
from gateway.websocket.legacy import hide_upgrade
from tests.support import eventually
from tests.support.raw import RawClient, frame
from tests.support.tls import Certificate

Environ = dict[str, Any]
Run = Callable[..., WSGIServer]

TEXT, BINARY, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE


@pytest.fixture
def run() -> Iterator[Run]:
    """Serve an application; nothing of its sockets may be left."""
    servers: list[WSGIServer] = []

    def start(
        application: Any,
        handler: type = UpgradeHandler,
        address: Any = ("127.0.0.1", 0),
        server: type[WSGIServer] = WSGIServer,
        **options: Any,
    ) -> WSGIServer:
        options = {"log": None, **options}
        servers.append(server(address, application, handler_class=handler, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        eventually(lambda server=server: not vars(server).get("clients"))
        server.stop()
    eventually(lambda: not legacy._endpoint().sockets)


def url(server: WSGIServer, path: str = "/") -> str:
    return f"ws://127.0.0.1:{server.server_port}{path}"


def raw(server: WSGIServer, path: str = "/", **headers: str) -> RawClient:
    client = RawClient(server.server_port)
    assert client.request(path, headers)[0] == 101
    return client


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    ws = environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        ws.send(message)
    return []


# The same program on gevent-websocket's handler and on ours


both = pytest.mark.parametrize(
    "handler", [WebSocketHandler, UpgradeHandler], ids=["theirs", "ours"]
)


def end_with_close(client: RawClient) -> None:
    client.send(frame(CLOSE, b"\x03\xe8"))


def end_with_eof(client: RawClient) -> None:
    client.sock.shutdown(gevent.socket.SHUT_WR)


to_the_end = pytest.mark.parametrize("end", [end_with_close, end_with_eof])


@both
@to_the_end
def test_receiving_until_none(
    run: Run, handler: type, end: Callable[[RawClient], None]
) -> None:
    seen: list[object] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        while (message := ws.receive()) is not None:
            seen.append(message)
        for attempt in (ws.receive, lambda: ws.send("x"), lambda: ws.send(None)):
            try:
                attempt()
            except WebSocketError:
                seen.append("refused")
        seen.append(ws.closed)
        return []

    client = raw(run(application, handler))
    client.send(frame(TEXT, b"one") + frame(BINARY, b"two") + frame(TEXT, b""))
    end(client)
    refused = ["refused"] * 3
    eventually(lambda: seen == ["one", b"two", "", *refused, True])


@both
@to_the_end
def test_receiving_while_not_closed(
    run: Run, handler: type, end: Callable[[RawClient], None]
) -> None:
    seen: list[object] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        while not ws.closed:
            gevent.sleep(0.01)  # busy, while all messages and the end come in
            message = ws.receive()
            if message is not None:
                seen.append(message)
        seen.append("cleaned up")
        return []

    client = raw(run(application, handler))
    client.send(frame(TEXT, b"one") + frame(BINARY, b"two") + frame(TEXT, b"three"))
    end(client)
    eventually(lambda: seen == ["one", b"two", "three", "cleaned up"])


@both
def test_what_a_program_may_look_at(run: Run, handler: type) -> None:
    seen: list[object] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        ws.send("open")
        seen.extend([ws.path, ws.origin, ws.version, ws.environ is environ])
        seen.append(environ["wsgi.websocket_version"])
        seen.append(ws.handler.active_client.ws is ws)
        return []

    server = run(application, handler)
    with RawClient(server.server_port) as client:
        client.request("/news?page=1", {"Origin": "http://example.com"})
        eventually(lambda: len(seen) == 6)
    assert seen == ["/news", "http://example.com", "13", True, "13", True]


@both
def test_their_own_applications(run: Run, handler: type) -> None:
    seen: list[object] = []

    class Application(WebSocketApplication):
        def on_open(self) -> None:
            seen.append("open")

        def on_message(self, message: str | None) -> None:
            seen.append(message)
            if message is not None:
                self.ws.send(message.upper())

        def on_close(self, *reason: object) -> None:
            seen.append("close")

    client = raw(run(Resource([("^/chat$", Application)]), handler), "/chat")
    client.send_text("hello")
    received = client.receive()
    assert received is not None
    assert received.data == b"HELLO"
    client.send(frame(CLOSE, b"\x03\xe8"))
    eventually(lambda: "close" in seen)
    assert seen == ["open", "hello", None, "close"]


class Chat(WebSocketApplication):
    """Sends each message to all clients, as gevent-websocket's example does."""

    def on_message(self, message: str | None) -> None:
        if message is not None:
            self.ws.handler.active_client.name = "known"
            for client in self.ws.handler.server.clients.values():
                client.ws.send(message)


@both
@pytest.mark.parametrize("server_class", [WSGIServer, OldServer])
def test_broadcasting_to_the_servers_clients(
    run: Run, handler: type, server_class: type[WSGIServer]
) -> None:
    server = run(Resource([("/", Chat)]), handler, server=server_class)
    clients = [raw(server) for _ in range(3)]
    eventually(lambda: len(server.clients) == 3)
    clients[0].send_text("to all")
    for client in clients:
        received = client.receive()
        assert received is not None
        assert received.data == b"to all"
    for client in clients:
        client.close()
    eventually(lambda: not server.clients)


@both
def test_a_subprotocol_by_app_protocol(run: Run, handler: type) -> None:
    class Protocol(BaseProtocol):
        PROTOCOL_NAME = "chat.v1"

    class Application(WebSocketApplication):
        protocol_class = Protocol

        def on_open(self) -> None:
            self.ws.send(str(self.ws.protocol))

    server = run(Resource([("/", Application)]), handler)
    with RawClient(server.server_port) as client:
        status, headers, _ = client.request(
            headers={"Sec-WebSocket-Protocol": "chat.v1"}
        )
        assert (status, headers["sec-websocket-protocol"]) == (101, "chat.v1")
    with RawClient(server.server_port) as client:
        status, headers, _ = client.request(headers={"Sec-WebSocket-Protocol": "other"})
        assert status == 101
        assert "sec-websocket-protocol" not in headers


@both
def test_plain_requests_are_answered_as_ever(run: Run, handler: type) -> None:
    def page(environ: Environ, start_response: Any) -> list[bytes]:
        assert "wsgi.websocket" not in environ
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"a page"]

    server = run(Resource([("/", page)]), handler)
    client = RawClient(server.server_port)
    for _ in range(2):  # keep-alive
        status, _, body = client.request(headers={"Upgrade": None, "Connection": None})
        assert (status, body) == (200, b"a page")


# What ours does better


def test_sending_text_and_binary(run: Run) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        ws.send("text")
        ws.send(b"binary")
        ws.send("né", binary=True)
        ws.send("né".encode(), binary=False)
        ws.send(bytearray(b"text"), binary=False)
        ws.send(bytearray(b"binary"))
        return []

    with connect(url(run(application))) as ws:
        expected = ["text", b"binary", "né".encode(), "né", "text", b"binary"]
        assert list(ws) == expected


def test_closing_with_a_code_and_a_reason(run: Run) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        code, *reason = ws.receive().split(" ")
        ws.close(int(code), *reason)
        assert ws.closed
        with pytest.raises(WebSocketError):
            ws.send("x")
        with pytest.raises(WebSocketError):
            ws.receive()
        ws.close()
        return []

    server = run(application)
    for request_, expected in [("4001 bye", (4001, "bye")), ("1000", (1000, ""))]:
        client = raw(server)
        client.send_text(request_)
        assert client.receive_close() == expected
        client.send(frame(CLOSE, b"\x03\xe8"))
        client.receive_eof()


def test_sending_to_a_peer_that_goes(run: Run) -> None:
    outcome: list[str] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        try:
            while True:
                environ["wsgi.websocket"].send(b"x" * 60_000)
        except WebSocketError as exc:
            outcome.append(str(exc))
        return []

    client = raw(run(application))
    assert client.receive() is not None
    client.reset()
    eventually(lambda: outcome == ["Socket is dead"])


@pytest.mark.parametrize(
    ("message", "reason"), [(b"bye", "bye"), (None, ""), ("", ""), ("tschüß", "tschüß")]
)
def test_reasons_to_close(run: Run, message: Any, reason: str) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        environ["wsgi.websocket"].close(4000, message)
        return []

    client = raw(run(application))
    assert client.receive_close() == (4000, reason)
    client.close()


def test_what_came_before_our_close_is_not_received_after_it(run: Run) -> None:
    seen: list[object] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        seen.append(ws.receive())
        ws.close()
        seen.append(ws.closed)
        return []

    client = raw(run(application))
    client.send(frame(TEXT, b"one") + frame(TEXT, b"two") + frame(CLOSE, b"\x03\xe8"))
    assert client.receive_close()[0] == 1000
    eventually(lambda: seen == ["one", True])


def test_an_application_that_returns_closes_the_socket(run: Run) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        environ["wsgi.websocket"].send("hi")
        start_response("200 OK", [])  # is for nobody
        return [b"nor is this"]

    server = run(application)
    with connect(url(server)) as ws:
        assert list(ws) == ["hi"]
        assert ws.close_code == 1000
    assert server.clients == {}


def test_an_application_that_fails_closes_the_socket(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        environ["wsgi.websocket"].send("hi")
        raise ZeroDivisionError

    server = run(application)
    with connect(url(server)) as ws:
        assert list(ws) == ["hi"]
        assert ws.close_code == 1000
    eventually(lambda: server.clients == {})
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_application_may_do_without_its_socket(run: Run) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        assert environ["wsgi.websocket"].path == "/private"
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"members only"]

    server = run(application)
    with pytest.raises(HandshakeRefused, match="403 Forbidden: members only"):
        connect(url(server, "/private"))
    assert "clients" not in vars(server)


def test_an_application_learns_that_the_server_is_full(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy._endpoint().places, "max_sockets", 1)
    server = run(echo)
    with connect(url(server)):
        with pytest.raises(HandshakeRefused, match="503 Service Unavailable"):
            connect(url(server))
        assert len(server.clients) == 1


def test_compression_is_agreed_on(run: Run) -> None:
    with connect(url(run(echo))) as ws:
        assert ws.outbox.encoding & 15 == 12
        ws.send("word " * 5000)
        assert ws.receive(5) == "word " * 5000


def test_a_socket_of_theirs_is_forgotten(run: Run) -> None:
    sockets: list[weakref.ref[Any]] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        sockets.append(weakref.ref(environ["wsgi.websocket"]))
        return echo(environ, start_response)

    client = raw(run(application))
    client.send(frame(CLOSE, b"\x03\xe8"))
    client.receive_close()
    gc.disable()
    try:
        eventually(lambda: sockets[0]() is None)
    finally:
        gc.enable()


# Where it is served


def test_on_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = gevent.socket.socket(gevent.socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    server = run(Resource([("/", Chat)]), address=listener)
    with connect(f"ws+unix://{path}") as one, connect(f"ws+unix://{path}") as two:
        eventually(lambda: len(server.clients) == 2)
        one.send("to both")
        assert [one.receive(5), two.receive(5)] == ["to both"] * 2
        known = [
            client for client in server.clients.values() if hasattr(client, "name")
        ]
        assert len(known) == 1  # each has an entry of its own
    eventually(lambda: not server.clients)


def test_over_tls(run: Run, certificate: Certificate) -> None:
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    server = run(echo, ssl_context=context)
    secure = url(server).replace("ws://", "wss://")
    with connect(secure, ssl_context=certificate.client()) as ws:
        for message in ["hi", b"x" * 300_000]:
            ws.send(message)
            assert ws.receive(5) == message
        ws.close()
        assert ws.close_code == 1000


# In Flask


def flask_app() -> Flask:
    app = Flask(__name__)

    def shout() -> str:
        ws = request.environ["wsgi.websocket"]
        while (message := ws.receive()) is not None:
            if message == "fail":
                raise ZeroDivisionError
            ws.send(message.upper())
        return ""

    app.add_url_rule("/new", "new", shout, websocket=True)
    app.add_url_rule("/old", "old", shout)
    app.add_url_rule("/page", "page", lambda: "a page")
    return app


def test_old_sockets_share_one_endpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = legacy._endpoint()
    monkeypatch.setattr(legacy, "Endpoint", None)  # another one cannot be made
    assert legacy._endpoint() is endpoint


def test_a_route_for_websockets(run: Run) -> None:
    server = run(flask_app())
    with connect(url(server, "/new")) as ws:
        ws.send("hi")
        assert ws.receive(5) == "HI"
    with pytest.raises(HandshakeRefused, match="400"):
        connect(url(server, "/old"))  # Werkzeug has it for pages only


def test_ordinary_routes_when_the_upgrade_is_hidden(run: Run) -> None:
    app = flask_app()
    app.wsgi_app = hide_upgrade(app.wsgi_app)  # type: ignore[method-assign]
    server = run(app)
    with connect(url(server, "/old")) as ws:
        ws.send("hi")
        assert ws.receive(5) == "HI"
    with pytest.raises(HandshakeRefused, match="400"):
        connect(url(server, "/new"))
    client = RawClient(server.server_port)
    _, _, body = client.request("/page", {"Upgrade": None, "Connection": None})
    assert body == b"a page"


def test_a_view_that_fails_closes_the_socket(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    server = run(flask_app())
    with connect(url(server, "/new")) as ws:
        ws.send("fail")
        assert list(ws) == []
        assert ws.close_code == 1000
    eventually(lambda: not server.clients)
    assert "ZeroDivisionError" in caplog.text


def test_the_access_log_has_one_line_per_socket(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("tests.access")
    with caplog.at_level(logging.INFO, "tests.access"):
        connect(url(run(echo, log=logger))).close()
        eventually(lambda: caplog.messages)
    assert len(caplog.messages) == 1
    assert '"GET / HTTP/1.1" 101' in caplog.text
