"""A Flask app served in this process, and a cable client to talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask
from gevent.pywsgi import WSGIServer

from gateway.server import CableServer
from gateway.websocket import UpgradeHandler, WebSocket, connect
from tests.support.live import LiveServer

__all__ = ["RESTART", "CableClient", "Served", "identify", "welcomed"]

RAILS = ("actioncable-v1-json", "actioncable-unsupported")
ANYCABLE = ("actioncable-v1-json",)

RESTART = {"type": "disconnect", "reason": "server_restart", "reconnect": True}
"""What clients are told by a worker that ends."""


def identify(channel: str, **params: Any) -> str:
    """An identifier as Rails' client writes it."""
    return msgspec.json.encode({"channel": channel, **params}).decode()


class CableClient:
    """The cable's protocol, said by hand over a real socket."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws

    def receive(self, timeout: float = 10) -> Any:
        """The next frame that is no heartbeat."""
        while True:
            frame = msgspec.json.decode(self.ws.receive(timeout))
            if frame.get("type") != "ping":
                return frame

    def send(self, **command: Any) -> None:
        self.ws.send_json(command)

    def subscribe(self, channel: str, **params: Any) -> Any:
        """Subscribe; returns the answer's type."""
        identifier = identify(channel, **params)
        self.send(command="subscribe", identifier=identifier)
        answer = self.receive()
        assert answer["identifier"] == identifier
        return answer["type"]

    def perform(self, identifier: str, **data: Any) -> None:
        text = msgspec.json.encode(data).decode()
        self.send(command="message", identifier=identifier, data=text)

    def message(self) -> Any:
        """The next frame must be a message: what it says."""
        frame = self.receive()
        assert "type" not in frame, frame
        return frame["message"]

    def __enter__(self) -> CableClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.ws.close()


def welcomed(server: LiveServer, path: str = "/cable") -> CableClient:
    """A client of a server that has welcomed it."""
    client = CableClient(server.connect(path))
    assert client.receive() == {"type": "welcome"}
    return client


class Served:
    """``app`` on a port of its own, as long as the ``with`` lasts."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._server = WSGIServer(
            ("127.0.0.1", 0), app, log=None, handler_class=UpgradeHandler
        )
        self._server.start()
        self.port = int(self._server.server_port or 0)

    @property
    def cable(self) -> CableServer:
        server: CableServer = self.app.extensions["gateway"]
        return server

    def connect(self, path: str = "/cable", **options: Any) -> WebSocket:
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    def client(
        self, subprotocols: tuple[str, ...] = RAILS, **options: Any
    ) -> CableClient:
        """A client that has been welcomed."""
        client = CableClient(self.connect(subprotocols=subprotocols, **options))
        assert client.receive() == {"type": "welcome"}
        return client

    def cookie(self, session: Mapping[str, Any]) -> dict[str, str]:
        """The header of a browser that has this Flask session."""
        serializer = self.app.session_interface.get_signing_serializer(self.app)
        return {"Cookie": f"session={serializer.dumps(dict(session))}"}

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(timeout=1)
        self.cable.stop()
