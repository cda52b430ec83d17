"""The lowest layer: bytes to and from one peer without waiting."""

from __future__ import annotations

import socket as stdlib_socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer
from gevent.ssl import SSLSocket
from websockets.frames import Opcode

from gateway.websocket import Limits, WebSocket, connect
from gateway.websocket.transport import (
    Transport,
    decrypted,
    peer_of,
    start_tls,
    take_over,
)
from tests.support import eventually
from tests.support.raw import UPGRADE, frame, switching, unmasked
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo

Socket = gevent.socket.socket
Ends = tuple[Socket, Socket]

TCP = stdlib_socket.IPPROTO_TCP


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What is entered here is closed in the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def tcp(closing: ExitStack) -> Ends:
    """Both ends of a TCP connection, neither yet looked at."""
    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = gevent.socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return closing.enter_context(client), closing.enter_context(server)


@pytest.fixture
def tls(
    tcp: Ends, closing: ExitStack, certificate: Certificate
) -> tuple[SSLSocket, SSLSocket]:
    """Both ends of a TLS connection, after the handshake."""
    client, server = tcp
    accepting = gevent.spawn(start_tls, server, certificate.server(), server_side=True)
    secure = start_tls(client, certificate.client(), server_hostname="localhost")
    closing.enter_context(secure)
    return secure, closing.enter_context(accepting.get(timeout=5))


def owned(sock: Socket, closing: ExitStack, unacknowledged_s: float = 30) -> Transport:
    transport = take_over(sock, unacknowledged_s)
    closing.callback(transport.close)
    return transport


def option(transport: Transport, name: int) -> int:
    with stdlib_socket.socket(fileno=stdlib_socket.dup(transport.fileno())) as copy:
        return copy.getsockopt(TCP, name)


def try_recv(transport: Transport) -> bytes | None:
    try:
        return transport.recv(100)
    except BlockingIOError:
        return None


def try_send(transport: Transport) -> int | None:
    """Offers the same bytes each time: TLS insists on it."""
    try:
        return transport.send(b"x" * 100_000)
    except BlockingIOError:
        return None


def drain(sock: Socket, size: int) -> None:
    while size:
        size -= len(sock.recv(size))


# Taking over


def test_the_owner_finds_its_socket_closed(tcp: Ends, closing: ExitStack) -> None:
    ours, theirs = tcp
    number = ours.fileno()
    transport = owned(ours, closing)
    assert transport.fileno() == number
    assert ours.fileno() == -1
    ours.close()  # as a server does when its handler has returned
    transport.send(b"unharmed")
    assert theirs.recv(100) == b"unharmed"
    transport.close()
    assert theirs.recv(100) == b""


def test_small_writes_leave_at_once_and_the_dead_are_found(
    tcp: Ends, closing: ExitStack
) -> None:
    transport = owned(tcp[0], closing, unacknowledged_s=1.5)
    assert option(transport, stdlib_socket.TCP_NODELAY) == 1
    assert option(transport, stdlib_socket.TCP_USER_TIMEOUT) == 1500


def test_the_kernel_holds_little_for_a_peer_who_does_not_read(
    tcp: Ends, closing: ExitStack
) -> None:
    ours, theirs = tcp
    theirs.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 4096)
    transport = owned(ours, closing)
    held = 0
    with suppress(BlockingIOError):
        while True:
            held += transport.send(bytes(16_000))
    assert held < 2**19  # else some megabytes


def test_tls_sockets_have_the_same_options(
    tls: tuple[SSLSocket, SSLSocket], closing: ExitStack
) -> None:
    transport = owned(tls[0], closing, unacknowledged_s=1.5)
    assert option(transport, stdlib_socket.TCP_NODELAY) == 1
    assert option(transport, stdlib_socket.TCP_USER_TIMEOUT) == 1500


def test_both_ends_of_a_websocket_have_them(serve: Serve) -> None:
    server = serve(echo, limits=Limits(write_timeout_s=7))
    with connect(server.url, limits=Limits(write_timeout_s=8)) as client:
        (served,) = server.sockets
        timeouts = [transport_of(ws) for ws in (served, client)]
        assert [option(t, stdlib_socket.TCP_USER_TIMEOUT) for t in timeouts] == [
            7000,
            8000,
        ]


def transport_of(ws: WebSocket) -> Transport:
    assert ws._transport is not None
    return ws._transport


def test_unix_sockets_do_without(closing: ExitStack) -> None:
    ours, theirs = gevent.socket.socketpair()
    closing.enter_context(theirs)
    owned(ours, closing).send(b"hi")
    assert theirs.recv(100) == b"hi"


def test_a_platform_that_cannot_be_told_so(
    tcp: Ends, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.websocket.transport._TCP_USER_TIMEOUT", None)
    monkeypatch.setattr("gateway.websocket.transport._TCP_NOTSENT_LOWAT", None)
    transport = owned(tcp[0], closing)
    assert option(transport, stdlib_socket.TCP_USER_TIMEOUT) == 0
    assert option(transport, stdlib_socket.TCP_NODELAY) == 1


# What came in one TLS record with the handshake of the WebSocket: no poll tells of it


def test_what_is_decrypted_already_is_found(
    tls: tuple[SSLSocket, SSLSocket], tcp: Ends
) -> None:
    ours, theirs = tls
    theirs.sendall(b"head" + b"x" * 12_000)
    assert ours.recv(4) == b"head"
    assert decrypted(ours) == b"x" * 12_000
    assert decrypted(ours) == b""
    with gevent.socket.socket() as plain:
        assert decrypted(plain) == b""


def test_a_server_sees_it(serve: Serve, certificate: Certificate) -> None:
    server = serve(echo, ssl_context=certificate.server(), ping_interval_s=None)
    port = int(server.url.rsplit(":", 1)[1])
    tcp = gevent.socket.create_connection(("127.0.0.1", port))
    lines = ["GET / HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in UPGRADE.items())]
    head = "\r\n".join([*lines, "", ""]).encode()
    with start_tls(tcp, certificate.client(), server_hostname="localhost") as client:
        client.sendall(head + frame(Opcode.BINARY, b"x" * 12_000))
        received = b""
        with gevent.Timeout(5, AssertionError("nothing came back")):
            while not received.endswith(b"x" * 12_000):
                received += client.recv(65536)
    assert received.startswith(b"HTTP/1.1 101 ")


def test_a_client_sees_it(certificate: Certificate, closing: ExitStack) -> None:
    def greet(tcp: Socket, address: object) -> None:
        with start_tls(tcp, certificate.server(), server_side=True) as sock:
            message = unmasked(Opcode.BINARY, b"x" * 12_000)
            sock.sendall(switching(sock.recv(65536)) + message)
            sock.recv(1)

    server = StreamServer(("127.0.0.1", 0), greet)
    server.start()
    closing.callback(server.stop)
    url = f"wss://127.0.0.1:{server.server_port}"
    ws = connect(url, ssl_context=certificate.client(), ping_interval=None)
    closing.callback(ws.abort)
    assert ws.receive(5) == b"x" * 12_000


# Bytes


@pytest.fixture(params=["tcp", "tls"])
def ends(request: pytest.FixtureRequest) -> Ends:
    """A connection of either kind."""
    pair: Ends = request.getfixturevalue(request.param)
    return pair


def test_nothing_waits(ends: Ends, closing: ExitStack) -> None:
    ours, theirs = ends
    transport = owned(ours, closing)
    with pytest.raises(BlockingIOError):
        transport.recv(100)
    theirs.sendall(b"hello")
    assert eventually(lambda: try_recv(transport)) == b"hello"
    total = 0
    while (sent := try_send(transport)) is not None:
        assert sent > 0
        total += sent
    assert transport.send(b"") == 0
    drain(theirs, total)
    sent = eventually(lambda: try_send(transport))
    assert sent is not None
    drain(theirs, sent)


def test_who_is_at_the_other_end(ends: Ends, closing: ExitStack) -> None:
    ours, theirs = ends
    transport = owned(ours, closing)
    assert peer_of(transport) == "127.0.0.1"
    theirs.setsockopt(
        stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    theirs.close()
    eventually(lambda: peer_of(transport) == "")


def test_nobody_has_an_address_on_a_unix_socket(closing: ExitStack) -> None:
    ours, theirs = gevent.socket.socketpair()
    closing.enter_context(theirs)
    assert peer_of(owned(ours, closing)) == ""


def test_half_of_a_connection_can_be_closed(ends: Ends, closing: ExitStack) -> None:
    ours, theirs = ends
    transport = owned(ours, closing)
    transport.shutdown(stdlib_socket.SHUT_WR)
    assert theirs.recv(100) == b""


def test_the_end_is_read_as_such(ends: Ends, closing: ExitStack) -> None:
    ours, theirs = ends
    transport = owned(ours, closing)
    theirs.close()
    assert eventually(lambda: [data for data in [try_recv(transport)] if data == b""])


def test_a_handshake_that_is_cut_short_leaves_nothing(
    tcp: Ends, certificate: Certificate
) -> None:
    client, server = tcp
    accepting = gevent.spawn(start_tls, server, certificate.server(), server_side=True)
    gevent.sleep(0)
    accepting.kill()
    assert client.recv(100) == b""


def test_a_certificate_of_others_is_refused(
    tcp: Ends, certificate: Certificate, closing: ExitStack
) -> None:
    client, server = tcp
    accepting = gevent.spawn(start_tls, server, certificate.server(), server_side=True)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        start_tls(client, certificate.client(), server_hostname="example.com")
    with pytest.raises(ssl.SSLError, match="bad certificate"):
        accepting.get(timeout=5)
