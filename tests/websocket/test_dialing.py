"""From a URL to a connection: what cannot be dialled, proxies, addresses."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.server import StreamServer

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import WebSocket, connect
from gateway.websocket.dialing import without_secrets
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ws://",
        "example.com",
        "ws://localhost:65536",
        "ws://[::1",
        "ws://two..dots/",
        "ws+unix:relative/path",
        "ws+unix://relative/path",
        "ws+unix://",
        None,
        b"ws://localhost",
    ],
)
def test_urls_that_cannot_be_used(url: Any) -> None:
    with pytest.raises(LocalError, match="write ws://host"):
        connect(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://example.com:80/chat", "ws://example.com:80/chat"),
        ("wss://ann:secret@example.com/chat", "wss://example.com/chat"),
        ("wss://example.com/chat?token=secret", "wss://example.com/chat"),
        ("wss://example.com?token=a@secret", "wss://example.com"),
        ("ws://example.com/@here#secret", "ws://example.com/@here"),
        ("ws://secret@", "ws://"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_may_be_shown_of_a_url(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_urls_that_cannot_be_used_tell_no_secrets() -> None:
    for url in ("ws://ann:secret@h:x/?secret", "ws://secret@host/", "http://h?secret"):
        with pytest.raises(LocalError) as refused:
            connect(url)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["socket", "with:colon", "with space", "100%"])
def test_a_path_over_a_unix_socket(serve: Serve, tmp_path: Path, name: str) -> None:
    def tell(ws: WebSocket) -> None:
        ws.send(f"{ws.path} {ws.request.query}")

    url = serve(tell, address=f"unix:{tmp_path / name}").url
    for rest, told in (
        ("", "/ "),
        (":/chat", "/chat "),
        (":/chat?room=1", "/chat room=1"),
        ("?room=1", "/ room=1"),
        (":/a:b", "/a:b "),
    ):
        with connect(url + rest) as ws:
            assert ws.receive(5) == told
            assert f"{ws.path} {ws.request.query}" == told


def test_a_unix_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(f"ws+unix://{tmp_path / 'nobody'}")


@pytest.fixture
def proxy() -> Iterator[StreamServer]:
    """Just enough of an HTTP proxy: CONNECT to anywhere but forbidden.example."""

    def handle(sock: Any, address: Any) -> None:
        host, port = sock.recv(65536).split(b" ")[1].decode().split(":")
        if host == "forbidden.example":
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        with gevent.socket.create_connection((host, int(port))) as there:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pumps = [gevent.spawn(pump, sock, there), gevent.spawn(pump, there, sock)]
            gevent.joinall(pumps)

    def pump(source: Any, target: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(1)

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    yield server
    server.stop()


def test_the_environments_proxy(
    serve: Serve, proxy: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "")
    with connect(serve(echo).url) as ws:
        ws.send("through the proxy")
        assert ws.receive() == "through the proxy"
    with pytest.raises(HandshakeRefused, match="answered 'HTTP/1.1 403 Forbidden'"):
        connect("ws://forbidden.example/")


def test_tls_through_the_environments_proxy(
    serve: Serve,
    proxy: StreamServer,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "")
    server = serve(echo, ssl_context=certificate.server())
    with connect(server.url, ssl_context=certificate.client()) as ws:
        ws.send("x" * 50_000)
        assert ws.receive(5) == "x" * 50_000
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server.url)


def test_a_proxy_that_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: None)
    server.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises((HandshakeRefused, ConnectionResetError)):
        connect("ws://example.com/")
    server.stop()


@pytest.mark.parametrize(
    "proxy_url",
    [
        "socks5://ann:secret@127.0.0.1:1",
        "nonsense://ann:secret@host",
        "http://ann:secret@host/path?secret",
    ],
)
def test_proxies_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, proxy_url: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy_url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(LocalError, match="environment's proxy") as refused:
        connect("ws://example.com/")
    assert "secret" not in str(refused.value)


def test_the_address_it_comes_from(serve: Serve) -> None:
    addresses: list[str] = []

    def note(ws: WebSocket) -> None:
        addresses.append(ws.remote_address)

    server = serve(note)
    for address in ("127.0.0.2", "127.0.0.3"):
        with connect(server.url, source_address=address) as ws:
            assert ws.wait_closed(5)
    assert addresses == ["127.0.0.2", "127.0.0.3"]


def test_addresses_that_are_not_ours(serve: Serve) -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(OSError, match="ssign"):
            connect(serve(echo).url, source_address=address)


def test_nobody_there() -> None:
    with gevent.socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            connect(f"ws://127.0.0.1:{nobody.getsockname()[1]}")
