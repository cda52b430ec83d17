"""Answers that are no 101, by servers of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from gateway.errors import HandshakeRefused
from gateway.websocket import connect
from gateway.websocket.reconnect import is_final

Answer = Callable[[bytes], StreamServer]


@pytest.fixture
def answering() -> Iterator[Answer]:
    """A server that answers every request with the same bytes, then closes."""
    servers: list[StreamServer] = []

    def start(answer: bytes) -> StreamServer:
        def handle(sock: Any, address: Any) -> None:
            sock.recv(65536)
            sock.sendall(answer)

        servers.append(StreamServer(("127.0.0.1", 0), handle))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
            404,
            "answered 404 Not Found: nope",
        ),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: wss://new/\r\nContent-Length: 0\r\n\r\n",
            301,
            "redirects to wss://new/, which is not followed",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nuntil the end", 403, "until the end"),
        (b"HTTP/1.0 403 Forbidden\r\nServer: Old\r\n\r\nold", 403, "Forbidden: old"),
        (b"HTTP/1.1 403\r\n\r\n", 403, "answered 403"),
        (b"HTTP/1.1 403 No\r\nno header\r\n\r\n", 403, "answered 403 No"),
        (b"HTTP/1.1 403 No\r\nA: \xff\r\n\r\n", 403, "answered 403 No"),
        (b"HTTP/1.1 403 No\r\nA: b", 403, "answered 403 No"),
        (b"HTTP/1.1 403 No\r\nContent-Length: x\r\n\r\nwhy", 403, "403 No: why"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\ncut", 403, "403 No: cut"),
        (b"HTTP/1.1 429 Many\r\nContent-Length: 3\r\n\r\nnot so long", 429, "not"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "answered 204 No Content"),
        (
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4;a=b\r\nnope\r\n4\r\nmore\r\n0\r\n\r\n",
            403,
            "answered 403 No: nope",
        ),
        (
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
            403,
            "answered 403 No",
        ),
        (
            b"HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
            403,
            "answered 403 No",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login?token=secret\r\n\r\n",
            302,
            "redirects to /login, which is not followed",
        ),
        (b"HTTP/1.1 302 Found\r\n\r\n", 302, "redirects to nowhere"),
        (b"HTTP/1.0 101 Yes\r\n\r\n", 101, "is no WebSocket server"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: h2c\r\n\r\n", 101, "is no WebSocket server"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 502, "is no HTTP server"),
        (b"", 502, "closed the connection, unanswered"),
        (b"HTTP/1.1 101 Yes\r\n" + b"a: b\r\n" * 20_000, 502, "bytes of headers"),
    ],
)
def test_refusals(answering: Answer, answer: bytes, status: int, sentence: str) -> None:
    url = f"ws://127.0.0.1:{answering(answer).server_port}/"
    with pytest.raises(HandshakeRefused) as refused:
        connect(url)
    assert refused.value.status == status
    assert sentence in str(refused.value)
    assert url in str(refused.value)
    if "answered" in sentence:  # which is all there is to say
        assert str(refused.value).endswith(sentence)


def test_a_body_that_comes_later() -> None:
    def handle(sock: Any, address: Any) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        gevent.sleep(0.02)  # else it might come in one packet
        sock.sendall(b"3\r\nwhy\r\n0\r\n\r\n")
        sock.recv(1)

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    with pytest.raises(HandshakeRefused, match="403 No: why$"):
        connect(f"ws://127.0.0.1:{server.server_port}")
    server.stop()


def test_the_headers_of_a_refusal(answering: Answer) -> None:
    server = answering(b"HTTP/1.0 401 No\r\nA: 1\r\nodd\r\nSet-Cookie:  b=c \r\n\r\n")
    with pytest.raises(HandshakeRefused) as refused:
        connect(f"ws://127.0.0.1:{server.server_port}")
    assert refused.value.headers == [("A", "1"), ("Set-Cookie", "b=c")]


@pytest.mark.parametrize("end", ["endless", "never"])
def test_a_refusal_whose_body_does_not_end(end: str) -> None:
    """It is one all the same, and the client does not come back for more."""

    def handle(sock: Any, address: Any) -> None:
        sock.recv(65536)
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000000\r\n\r\n"
        sock.sendall(head + b"x" * 300)
        with suppress(OSError):
            while end == "endless":
                sock.sendall(b"x" * 65536)
            sock.recv(1)

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    with pytest.raises(HandshakeRefused) as refused:
        connect(f"ws://127.0.0.1:{server.server_port}")
    assert str(refused.value).endswith("403 Forbidden: " + "x" * 200)
    assert is_final(refused.value)
    server.stop()


def test_secrets_are_not_told(answering: Answer) -> None:
    for answer in (b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 404 No\r\n\r\n"):
        port = answering(answer).server_port
        with pytest.raises(HandshakeRefused) as refused:
            connect(f"ws://ann:secret@127.0.0.1:{port}/chat?token=secret")
        assert f"ws://127.0.0.1:{port}/chat " in str(refused.value)
        assert "secret" not in str(refused.value)
