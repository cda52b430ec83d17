"""Our client against servers that refuse, redirect, lie or dawdle."""

from __future__ import annotations

import contextlib
import gc
import struct
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer

from gateway import reasons
from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import Limits, WebSocket, connect
from tests.support.raw import switching
from tests.websocket.conftest import Serve, echo


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("Sec-WebSocket-Accept", "c3VyZWx5IG5vdA==", "c3VyZWx5IG5vdA=="),
        ("Sec-WebSocket-Protocol", "never.offered", "never.offered"),
        ("Sec-WebSocket-Extensions", "x-never-offered", "x-never-offered"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; nonsense", "nonsense"),
        ("X-Harmless", "yes", None),
    ],
)
def test_answers_to_what_we_did_not_ask(
    name: str, value: str, complaint: str | None
) -> None:
    def handle(sock: Any, address: Any) -> None:
        sock.sendall(switching(sock.recv(65536), **{name: value}))

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    url = f"ws://127.0.0.1:{server.server_port}/"
    if complaint is None:
        connect(url).abort()
    else:
        with pytest.raises(HandshakeRefused, match=f"no WebSocket.*{complaint}"):
            connect(url, subprotocols=["offered"])
    server.stop()


def test_a_server_that_dawdles() -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: gevent.sleep(9))
    server.start()
    url = f"ws://127.0.0.1:{server.server_port}"
    with pytest.raises(TimeoutError) as late:
        connect(f"{url}/chat?token=secret", open_timeout=0.05)
    assert str(late.value) == f"{url}/chat did not open in 0.05 s"
    server.stop()


def test_a_server_that_answers_and_resets_leaves_nothing_open() -> None:
    """A socket that is forgotten open warns when it is collected, which fails."""

    def answer_and_reset(sock: Any, address: Any) -> None:
        sock.sendall(switching(sock.recv(65536)))
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, linger)
        sock.close()

    server = StreamServer(("127.0.0.1", 0), answer_and_reset)
    server.start()
    for _ in range(20):
        with contextlib.suppress(OSError):
            connect(f"ws://127.0.0.1:{server.server_port}").abort()
    gc.collect()
    server.stop()


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ({"X-Name": "a\r\nEvil: 1"}, "'X-Name' has a line break in it"),
        ({"X-Name": "a\0"}, "'X-Name' has a line break in it"),
        ({"X-Name": 1}, "'X-Name' is text, not int"),
        ({"X Name": "1"}, "'X Name' is no name of a header"),
        ({"X-Name:": "1"}, "'X-Name:' is no name"),
        ({1: "1"}, "1 is no name"),
        ({"": "1"}, "'' is no name"),
        ("X-Name: 1", "a mapping, or pairs of name and value, not 'X-Name: 1'"),
        ([("X-Name",)], "a mapping, or pairs"),
    ],
)
def test_headers_that_cannot_be_used(
    serve: Serve, headers: Any, complaint: str
) -> None:
    with pytest.raises(LocalError, match=complaint):
        connect(serve(echo).url, headers=headers)


def test_headers_replace_our_own(serve: Serve) -> None:
    server = serve(lambda ws: ws.send(ws.headers["host"]))
    with connect(server.url, headers=[("HOST", "example.com")]) as ws:
        assert ws.receive() == "example.com"
        assert ws.headers["host"] == "example.com"


def test_headers_may_repeat(serve: Serve) -> None:
    server = serve(lambda ws: ws.send(ws.headers["x-name"]))
    with connect(server.url, headers=[("X-Name", "1"), ("x-name", "2")]) as ws:
        assert ws.receive() == "1,2"
        assert ws.headers["x-name"] == "1, 2"


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"subprotocols": "chat"}, r"write \['chat'\]"),
        ({"subprotocols": ["a b"]}, "subprotocol 'a b' cannot be sent"),
        ({"open_timeout": 0}, "open_timeout = 0 cannot"),
        ({"ping_interval": 0}, "ping_interval_s = 0 cannot"),
        ({"ping_interval": 1, "ping_timeout": 2}, "ping_timeout_s = 2 cannot"),
        ({"reconnect": 5}, "reconnect = 5: give True or a Backoff"),
        ({"on_open": print}, "go with reconnect=True"),
        ({"on_close": print, "reconnect": None}, "go with reconnect=True"),
    ],
)
def test_terms_that_cannot_be(
    serve: Serve, terms: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(LocalError, match=complaint):
        connect(serve(echo).url, **terms)


def test_none_is_no_wish_to_reconnect(serve: Serve) -> None:
    with connect(serve(echo).url, reconnect=None) as ws:
        assert isinstance(ws, WebSocket)


def test_the_silent_have_as_long_as_we_say() -> None:
    """A server that reads, and answers no ping."""

    def fall_silent(sock: Any, address: Any) -> None:
        sock.sendall(switching(sock.recv(65536)))
        while sock.recv(65536):
            pass

    server = StreamServer(("127.0.0.1", 0), fall_silent)
    server.start()
    ws = connect(
        f"ws://127.0.0.1:{server.server_port}",
        ping_interval=0.25,
        ping_timeout=0.1,
        limits=Limits(close_timeout_s=0.1),
    )
    wheel = ws._endpoint._wheel
    assert wheel is not None
    assert (len(list(wheel.slots)), wheel._lag) == (2, 1)
    assert ws.wait_closed(10)
    assert ws.close_reason is reasons.NO_PONG
    server.stop()


def test_what_was_asked_for_can_be_read(serve: Serve) -> None:
    with connect(f"{serve(echo).url}/ch%C3%A1t?room=1", origin="http://a.net") as ws:
        assert (ws.path, ws.request.query) == ("/chát", "room=1")
        assert ws.headers["origin"] == "http://a.net"
        assert ws.remote_address == "127.0.0.1"


def test_what_was_answered_can_be_read(serve: Serve) -> None:
    with connect(serve(echo, subprotocols=["chat"]).url, subprotocols=["chat"]) as ws:
        assert ws.request.response_headers["upgrade"] == "websocket"
        assert ws.request.response_headers["sec-websocket-protocol"] == "chat"


def test_compression_is_used_when_the_server_agrees(serve: Serve) -> None:
    with connect(serve(echo).url) as ws:
        ws.send("word " * 5000)
        assert ws.receive() == "word " * 5000
    with connect(serve(echo).url, compression=False) as ws:
        assert ws.outbox.encoding == 16


def test_clients_share_one_heartbeat(serve: Serve) -> None:
    server = serve(echo)
    with connect(server.url) as one, connect(server.url) as two:
        assert one._endpoint is two._endpoint
        with connect(server.url, ping_interval=None) as three:
            assert three._endpoint is not one._endpoint
