"""Servers for one test each, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.websocket import WebSocket, WebSocketServer
from tests.support import eventually
from tests.support.raw import RawClient
from tests.support.tls import Certificate
from tests.websocket.pipes import MakeReader, Reader

Serve = Callable[..., WebSocketServer]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server; it must have no socket left when the test is over."""
    servers: list[WebSocketServer] = []

    def start(*args: Any, address: Any = ("127.0.0.1", 0), **kwargs: Any) -> Any:
        servers.append(WebSocketServer(address, *args, **kwargs))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
        assert not server.sockets


@pytest.fixture
def make_reader() -> Iterator[MakeReader]:
    """Makes readers with these limits."""
    made: list[Reader] = []

    def make(kind: type[Reader] = Reader, **limits: float) -> Reader:
        made.append(kind(**limits))
        return made[-1]

    yield make
    for reader in made:
        reader.outbox.close()
        reader.pipe.close()


def echo(ws: WebSocket) -> None:
    """The handler that most tests use."""
    for message in ws:
        ws.send(message)


class Keep:
    """A handler that hands its socket to the test and waits for it to close."""

    def __init__(self) -> None:
        self.sockets: list[WebSocket] = []

    def __call__(self, ws: WebSocket) -> None:
        self.sockets.append(ws)
        ws.wait_closed()

    @property
    def socket(self) -> WebSocket:
        return eventually(lambda: self.sockets)[0]


def raw(server: WebSocketServer) -> RawClient:
    """A raw client, upgraded."""
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    assert client.request()[0] == 101
    return client


@pytest.fixture
def reader(make_reader: MakeReader) -> Reader:
    """One with the usual limits."""
    return make_reader()
