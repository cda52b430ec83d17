"""From WSGI to a WebSocket: what an application can get wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from gateway.errors import HandshakeRefused
from gateway.websocket import Endpoint, Message, UpgradeHandler, connect

Environ = dict[str, Any]
Run = Callable[[Any], str]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    assert not endpoint.sockets
    endpoint.stop()


@pytest.fixture
def run() -> Iterator[Run]:
    """Serve an application; gives its URL."""
    servers: list[WSGIServer] = []

    def start(application: Any) -> str:
        server = WSGIServer(
            ("127.0.0.1", 0), application, handler_class=UpgradeHandler, log=None
        )
        servers.append(server)
        server.start()
        return f"ws://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.stop()


def test_an_application_says_yes(run: Run, endpoint: Endpoint) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        headers = environ["gateway.upgrade"].accept(
            endpoint, lambda ws: ws.send_message(Message("hi"))
        )
        start_response("101 Switching Protocols", headers)
        return []

    with connect(run(application)) as ws:
        assert ws.receive(5) == "hi"


def test_an_application_that_switches_without_accepting(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("101 Switching Protocols", [])
        return []

    with pytest.raises(HandshakeRefused, match="500 Internal Server Error"):
        connect(run(application))
    assert "answered 101 without" in capsys.readouterr().err


def test_an_application_that_fails_after_saying_yes(
    run: Run, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Flask does when a teardown function raises."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        headers = environ["gateway.upgrade"].accept(endpoint, lambda ws: None)
        start_response("101 Switching Protocols", headers)
        raise ZeroDivisionError

    with pytest.raises(HandshakeRefused, match="500 Internal Server Error"):
        connect(run(application))
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert endpoint.opened == 0
