"""Heads of requests that are too long, too slow, or no heads at all."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.pywsgi import WSGIServer

from gateway.websocket import Limits, UpgradeHandler, WebSocketServer, connect
from tests.support import eventually
from tests.support.raw import RawClient
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo

START = b"GET / HTTP/1.1\r\n"
SIZE = len(START.strip())


def dial(server: WebSocketServer) -> RawClient:
    return RawClient(int(server.url.rsplit(":", 1)[1]))


def answer(server: WebSocketServer, *parts: bytes) -> int:
    """The status that a request gets, whose connection must be closed if it is bad."""
    client = dial(server)
    client.send(b"".join(parts))
    status, headers, body = client.response()
    if status != 426:  # what all plain requests get here
        assert headers["connection"] == "close"
        assert not client._receive()
    return status


# Too long


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"A: " + b"x" * (1000 - SIZE - 5) + b"\r\n", 426),
        (b"A: " + b"x" * (1000 - SIZE - 4) + b"\r\n", 431),
        (b"A: " + b"x" * 5000 + b"\r\n", 431),
        (b"Ab: cd\r\n" * 122, 426),
        (b"Ab: cd\r\n" * 124, 431),
    ],
)
def test_the_bytes_of_a_head_are_limited(
    serve: Serve, caplog: pytest.LogCaptureFixture, headers: bytes, status: int
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(echo, limits=Limits(max_head_bytes=1000, max_headers=1000))
    assert answer(server, START, headers, b"\r\n") == status
    assert ("max_head_bytes" in caplog.text) is (status == 431)


@pytest.mark.parametrize(("limit", "count"), [(10, 10), (100, 100), (300, 300)])
def test_the_number_of_headers_is_limited(
    serve: Serve, caplog: pytest.LogCaptureFixture, limit: int, count: int
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(echo, limits=Limits(max_headers=limit))
    assert answer(server, START, b"A: b\r\n" * count, b"\r\n") == 426
    assert "max_headers" not in caplog.text
    assert answer(server, START, b"A: b\r\n" * (count + 1), b"\r\n") == 431
    assert "max_headers" in caplog.text


def test_the_limits_hold_for_upgrades(serve: Serve) -> None:
    server = serve(echo, limits=Limits(max_headers=10))
    headers = {f"X-{number}": "x" for number in range(4)}
    with dial(server) as client:
        assert client.request(headers=headers)[0] == 101  # has five of its own
    with dial(server) as client:
        assert client.request(headers={**headers, "X-5": "x", "X-6": "x"})[0] == 431


def test_a_head_that_never_ends_is_not_read(serve: Serve) -> None:
    server = serve(echo)
    client = dial(server)

    def pour() -> None:
        while True:
            client.send(b"A: " + b"x" * 60_000)

    client.send(START)
    with pytest.raises(OSError, match="Broken pipe|Connection reset"):
        pour()


def test_the_request_line_is_limited(serve: Serve) -> None:
    assert answer(serve(echo), b"GET /", b"x" * 9000, b" HTTP/1.1\r\n\r\n") == 414


@pytest.mark.parametrize("header", [b"", b"A: b\r\n", b"A: " + b"x" * 99_999])
def test_a_request_line_is_part_of_the_head(serve: Serve, header: bytes) -> None:
    server = serve(echo, limits=Limits(max_head_bytes=100))
    line = b"GET /" + b"x" * (100 - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\n"
    assert answer(server, line, b"\r\n") == 426
    assert answer(server, line.replace(b"/x", b"/xx"), header, b"\r\n") == 431


# Too slow


IMPATIENT = Limits(head_timeout_s=0.1)


@pytest.mark.parametrize("head", [START, START + b"Host: x\r\nA:"])
def test_a_slow_head(
    serve: Serve, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    caplog.set_level(logging.INFO)
    assert answer(serve(echo, limits=IMPATIENT), head) == 408
    assert "head_timeout_s" in caplog.text


def test_a_head_that_comes_byte_by_byte(serve: Serve) -> None:
    client = dial(serve(echo, limits=IMPATIENT))

    def drip() -> None:
        for byte in START * 100:
            client.send(bytes([byte]))
            gevent.sleep(0.01)

    client.send(START)
    dripping = gevent.spawn(drip)
    assert client.response()[0] == 408
    dripping.kill()


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_a_silent_connection_is_closed_in_silence(serve: Serve, sent: bytes) -> None:
    client = dial(serve(echo, limits=IMPATIENT))
    client.send(sent)
    client.receive_eof()


def test_an_idle_connection_is_closed_in_silence(serve: Serve) -> None:
    client = dial(serve(echo, limits=IMPATIENT))
    assert client.request(headers={"Upgrade": None})[0] == 426
    client.receive_eof()


def test_a_tls_handshake_that_never_comes(
    serve: Serve, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(echo, ssl_context=certificate.server(), limits=IMPATIENT)
    client = dial(server)
    client.receive_eof()
    assert "no TLS with" in caplog.text
    with connect(server.url, ssl_context=certificate.client()) as ws:
        ws.send("unharmed")
        assert ws.receive(5) == "unharmed"


def test_others_are_served_meanwhile(serve: Serve) -> None:
    server = serve(echo)
    slow = [dial(server) for _ in range(20)]
    for client in slow:
        client.send(START)
    with connect(server.url) as ws:
        ws.send("hi")
        assert ws.receive(5) == "hi"
    for client in slow:
        client.send(b"\r\n")
        assert client.response()[0] == 426


# Bodies that nobody wants


@pytest.mark.parametrize(
    "body", [b"Content-Length: 9\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9"]
)
@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: websocket\r\n"])
def test_a_body_that_never_ends(
    serve: Serve, caplog: pytest.LogCaptureFixture, body: bytes, upgrade: bytes
) -> None:
    caplog.set_level(logging.INFO)
    client = dial(serve(echo, limits=Limits(body_timeout_s=0.05)))
    client.send(b"GET / HTTP/1.1\r\n" + upgrade + body)
    assert client.response()[0] == (400 if upgrade else 426)
    client.receive_eof()
    assert "body_timeout_s" in caplog.text


def test_a_body_that_comes_byte_by_byte(serve: Serve) -> None:
    client = dial(serve(echo, limits=Limits(body_timeout_s=0.05)))

    def drip() -> None:
        while True:
            client.send(b"x")
            gevent.sleep(0.01)

    client.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
    assert client.response()[0] == 426
    dripping = gevent.spawn(drip)
    client.receive_eof()
    dripping.kill()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 4\r\n\r\nbody",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ],
)
def test_the_next_request_begins_behind_a_body_nobody_read(
    serve: Serve, body: bytes
) -> None:
    client = dial(serve(echo))
    client.send((b"POST / HTTP/1.1\r\n" + body) * 2)
    assert [client.response()[0], client.response()[0]] == [426, 426]
    client.close()


# No heads at all


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS on a plain port
        b"\x00\xff\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET / HTTP/x.y\r\n\r\n",
        b"GET / FTP/1.1\r\n\r\n",
        b"POST /\r\n\r\n",
        START + b"Content-Length: many\r\n\r\n",
        START + b"Content-Length: -5\r\n\r\n",
    ],
)
def test_garbage(serve: Serve, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    assert answer(serve(echo), data) == 400
    assert capsys.readouterr().err == ""


def test_a_head_that_is_cut_off(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    client = dial(serve(echo))
    client.send(START + b"Cookie: half of i")
    client.sock.shutdown(gevent.socket.SHUT_WR)
    assert client.response()[0] == 400
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("data", [START, b"\x00\xff\r\n"])
def test_a_connection_that_breaks(
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    data: bytes,
) -> None:
    caplog.set_level(logging.DEBUG, "gateway.websocket")
    client = dial(serve(echo))
    client.send(data)
    client.reset()
    eventually(lambda: "lost ('127.0.0.1'" in caplog.text)
    assert capsys.readouterr().err == ""


# As it should be


def test_requests_on_one_connection(serve: Serve) -> None:
    """Each has its own head, with limits of its own."""
    headers = {f"X-{number}": "x" for number in range(5)}
    client = dial(serve(echo, limits=Limits(max_headers=10, max_head_bytes=250)))
    for _ in range(3):
        assert client.request(headers={**headers, "Upgrade": None})[0] == 426
    client.send((START + b"\r\n") * 2)  # one behind the other
    assert [client.response()[0], client.response()[0]] == [426, 426]
    assert client.request(headers=headers)[0] == 101
    client.close()


class Impatient(WSGIServer):
    """With limits as :class:`WebSocketServer` has them."""

    limits = Limits(head_timeout_s=0.05)


def test_the_application_may_take_its_time() -> None:
    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.sleep(0.1)
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    server = Impatient(("127.0.0.1", 0), slow, handler_class=UpgradeHandler, log=None)
    server.start()
    client = RawClient(server.server_port)
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
    gevent.sleep(0.1)  # the body may come as slowly
    client.send(b"body")
    assert client.response()[2] == b"body"
    client.receive_eof()  # idle
    server.stop()


def test_the_timeouts_of_others_are_left_to_them() -> None:
    seen: list[bool] = []

    class Hasty(WSGIServer):
        def handle(self, sock: Any, address: Any) -> None:
            timeout = gevent.Timeout.start_new(0.02)
            try:
                super().handle(sock, address)
            except gevent.Timeout as expired:
                seen.append(expired is timeout)
            finally:
                timeout.close()

    server = Hasty(("127.0.0.1", 0), None, handler_class=UpgradeHandler, log=None)
    server.start()
    RawClient(server.server_port).receive_eof()
    assert seen == [True]
    server.stop()
