"""Connections that have not said what they want: bounded, and gone in the end."""

from __future__ import annotations

import logging
import resource
from pathlib import Path

import gevent
import gevent.socket
import pytest

from gateway.websocket import Limits, WebSocketServer, connect
from gateway.websocket.transport import start_tls
from tests.support import eventually
from tests.support.raw import RawClient
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo


def port_of(server: WebSocketServer) -> int:
    return int(server.url.rsplit(":", 1)[1])


def dial(server: WebSocketServer, source: str = "127.0.0.1") -> RawClient:
    """A connection that has begun to ask for something."""
    client = RawClient(port_of(server), source=source)
    client.send(b"GET / HTTP/1.1\r\n")
    return client


def waiting(server: WebSocketServer) -> int:
    return len(server._server.lobby)


def test_one_address_leaves_room_for_others(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.websocket")
    server = serve(echo, limits=Limits(max_handshakes=8))
    for number in range(4):
        dial(server)
        eventually(lambda number=number: waiting(server) == number + 1)
    refused = dial(server)
    status, headers, _ = refused.response()
    assert (status, headers["retry-after"]) == (503, "5")
    refused.receive_eof()
    assert server.endpoint.refused == {"max_handshakes": 1}
    assert (
        "refused 127.0.0.1: max_handshakes: 4 wait already, 4 of them from there"
        in caplog.text
    )
    with connect(server.url, source_address="127.0.0.2") as ws:
        ws.send("room enough")
        assert ws.receive(5) == "room enough"


def test_who_is_served_or_gone_makes_room(serve: Serve) -> None:
    server = serve(echo, limits=Limits(max_handshakes=2))
    for _ in range(5):
        with connect(server.url) as ws:
            ws.send("next")
            assert ws.receive(5) == "next"
        client = RawClient(port_of(server))
        assert client.request(headers={"Upgrade": None})[0] == 426
        assert waiting(server) == 1  # it may ask for more
        client.close()
        eventually(lambda: waiting(server) == 0)
    assert not server.endpoint.refused
    assert not server._server.lobby._by_network


def test_who_does_not_ask_in_time_makes_room(serve: Serve) -> None:
    server = serve(echo, limits=Limits(head_timeout_s=0.05))
    assert dial(server).response()[0] == 408
    eventually(lambda: waiting(server) == 0)


def test_descriptors_that_sockets_hold_are_no_room(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64 + 4, 64 + 4))
    server = serve(echo)
    dial(server)
    dial(server)
    eventually(lambda: waiting(server) == 2)
    assert dial(server).response()[0] == 503
    with connect(server.url, source_address="127.0.0.2"):
        dial(server, "127.0.0.2")
        eventually(lambda: waiting(server) == 3)
        assert dial(server, "127.0.0.3").response()[0] == 503


def test_over_tls(serve: Serve, certificate: Certificate) -> None:
    """A socket that is open waits no longer, though its greenlet lives on."""
    limits = Limits(max_handshakes=2)
    server = serve(echo, limits=limits, ssl_context=certificate.server())
    terms = {"ssl_context": certificate.client()}
    with connect(server.url, **terms), connect(server.url, **terms) as ws:
        assert waiting(server) == 0
        silent = RawClient(port_of(server))
        eventually(lambda: waiting(server) == 1)
        refused = RawClient(port_of(server))
        refused.receive_eof()
        ws.send("unharmed")
        assert ws.receive(5) == "unharmed"
        silent.close()
    assert server.endpoint.refused == {"max_handshakes": 1}


def test_on_a_unix_socket(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.websocket")
    path = tmp_path / "socket"
    server = serve(echo, address=f"unix:{path}", limits=Limits(max_handshakes=1))
    with gevent.socket.socket(gevent.socket.AF_UNIX) as silent:
        silent.connect(str(path))
        eventually(lambda: waiting(server) == 1)
        with gevent.socket.socket(gevent.socket.AF_UNIX) as refused:
            refused.connect(str(path))
            assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
    assert "refused a unix socket: max_handshakes" in caplog.text


# The end


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n"])
def test_who_waits_when_the_server_stops_is_sent_away(
    serve: Serve, sent: bytes
) -> None:
    server = serve(echo)
    client = RawClient(port_of(server))
    client.send(sent)
    eventually(lambda: waiting(server) == 1)
    server.stop()
    client.receive_eof()
    assert waiting(server) == 0


def test_a_connection_kept_alive_is_sent_away(serve: Serve) -> None:
    server = serve(echo)
    client = RawClient(port_of(server))
    assert client.request(headers={"Upgrade": None})[0] == 426
    server.stop()
    client.receive_eof()


def test_who_asks_while_the_server_stops_is_refused(serve: Serve) -> None:
    server = serve(echo, limits=Limits(close_timeout_s=60))
    holding = RawClient(port_of(server))
    assert holding.request()[0] == 101
    late = dial(server)
    eventually(lambda: waiting(server) == 1)
    stopping = gevent.spawn(server.stop, None)
    assert holding.receive_close()[0] == 1001
    late.send(b"Host: x\r\n\r\n")
    assert late.response()[0] == 503
    late.receive_eof()
    holding.close()
    stopping.get(timeout=5)


def test_who_comes_when_the_server_has_stopped(serve: Serve) -> None:
    """A connection may have been accepted whose greenlet has not run yet."""
    server = serve(echo)
    server.stop()
    assert not server._server.lobby.enter("127.0.0.1")


def test_a_tls_handshake_and_the_head_share_their_time(
    serve: Serve, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(head_timeout_s=60)
    server = serve(echo, limits=limits, ssl_context=certificate.server())
    with monkeypatch.context() as patch:
        patch.setattr("gateway.websocket.server.monotonic", iter([0, 59.99]).__next__)
        tcp = gevent.socket.create_connection(("127.0.0.1", port_of(server)))
        context = certificate.client()
        with start_tls(tcp, context, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\n")
            with gevent.Timeout(5, AssertionError("the head had time of its own")):
                assert client.recv(100).startswith(b"HTTP/1.1 408 ")
