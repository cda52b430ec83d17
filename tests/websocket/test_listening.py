"""Where a server listens, and what is no such place."""

from __future__ import annotations

import socket as stdlib_socket
from pathlib import Path
from typing import Any

import gevent.socket
import pytest

from gateway.errors import LocalError
from gateway.websocket import WebSocketServer, connect
from tests.websocket.conftest import Serve, echo


def greet(url: str) -> None:
    with connect(url) as ws:
        ws.send("hi")
        assert ws.receive(5) == "hi"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_host_and_a_port(serve: Serve, host: str) -> None:
    greet(serve(echo, address=(host, 0)).url)


@pytest.mark.parametrize("module", [gevent.socket, stdlib_socket])
def test_a_listening_socket(serve: Serve, module: Any) -> None:
    """Whoever has opened it has no more to do with it."""
    listener = module.socket()
    listener.bind(("127.0.0.1", 0))
    with pytest.raises(LocalError, match="does not listen"):
        WebSocketServer(listener, echo)
    listener.listen()
    server = serve(echo, address=listener)
    greet(server.url)
    server.stop()
    assert listener.fileno() == -1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8099",
        "localhost",
        "/tmp/socket",
        "unix:",
        "",
        8099,
        None,
        Path("socket"),
        ("127.0.0.1",),
        ("127.0.0.1", "8099"),
        ("127.0.0.1", 65536),
        (b"127.0.0.1", 80),
    ],
)
def test_what_is_no_address(
    address: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalError, match="is no address to listen at") as refused:
        WebSocketServer(address, echo)
    assert repr(address) in str(refused.value)
    assert not list(tmp_path.iterdir())


# Unix sockets


def test_unix_sockets(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve(echo, address=f"unix:{path}")
    with connect(server.url) as one, connect(server.url) as two:
        for ws in (one, two):
            ws.send("hi")
            assert ws.receive() == "hi"
            assert ws.remote_address == ""
    with pytest.raises(LocalError, match="another server is listening"):
        WebSocketServer(f"unix:{path}", echo)
    server.stop()
    assert not path.exists()


def test_a_unix_socket_left_behind_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    left = gevent.socket.socket(gevent.socket.AF_UNIX, gevent.socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    greet(serve(echo, address=f"unix:{path}").url)


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("words")
    with pytest.raises(LocalError, match="is no socket"):
        WebSocketServer(f"unix:{path}", echo)
    assert path.read_text() == "words"


def test_a_unix_socket_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WebSocketServer(f"unix:{tmp_path / 'nowhere' / 'socket'}", echo)
