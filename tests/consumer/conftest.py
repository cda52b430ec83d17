"""A served app with rooms, consumers of it, and a server that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from flask import Flask

from gateway import Channel, Connection, Consumer, Gateway, action
from gateway.websocket import Backoff, WebSocket, WebSocketServer
from tests.support import eventually
from tests.support.app import Served

__all__ = ["FAST", "Make", "Scripted", "cut"]

FAST = Backoff(first_s=0.005, cap_s=0.02)

Make = Callable[..., Consumer]


def make_app() -> Flask:
    app = Flask("tests.consumer")
    app.secret_key = "not secret"
    app.config["GATEWAY_HISTORY"] = 5
    gateway = Gateway(app)

    @gateway.connection
    class AppConnection(Connection):
        identified_by = ("user",)

        def connect(self) -> None:
            token = self.request.headers.get("Authorization", "")
            self.user = token.removeprefix("Bearer ") or "guest"
            if self.user == "stranger":
                self.reject()

    @gateway.channel
    class RoomChannel(Channel):
        def subscribed(self) -> None:
            if self.params.get("room") == "closed":
                self.reject()
            self.stream_from(f"room_{self.params['room']}", whisper=True, presence=True)

        @action
        def say(self, data: dict[str, Any]) -> None:
            gateway.broadcast(
                f"room_{self.params['room']}", [self.connection.user, data["text"]]
            )

    @gateway.channel
    class PricesChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from("prices", max_rate=20)

    return app


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(make_app()) as running:
        yield running


@pytest.fixture
def make(served: Served) -> Iterator[Make]:
    """A consumer of the served app; it must end without a trace."""
    made: list[Consumer] = []

    def make(url: str = "", **options: Any) -> Consumer:
        url = url or f"ws://127.0.0.1:{served.port}/cable"
        options.setdefault("backoff", FAST)
        made.append(Consumer(url, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert each._keeper.dead
    eventually(lambda: not served.cable.endpoint.sockets)


def cut(served: Served) -> None:
    """Break every connection, as a network does."""
    for ws in list(served.cable.endpoint.sockets):
        ws.abort()


Script = Callable[["Scripted", WebSocket], object]


class Scripted:
    """A server that welcomes, confirms, and does what each visit's script says."""

    def __init__(self, *visits: Script) -> None:
        self.heard: list[Any] = []
        self._visits = iter(visits)
        self._server = WebSocketServer(("127.0.0.1", 0), self._serve)
        self.url = ""

    def commands(self, name: str) -> list[Any]:
        """What consumers said so far, of one command."""
        return [command for command in self.heard if command["command"] == name]

    def say(self, ws: WebSocket, **frame: Any) -> None:
        """Send a frame of the subscription that was asked for."""
        ws.send_json({"identifier": self.heard[0]["identifier"], **frame})

    def confirm(self, ws: WebSocket, **more: Any) -> None:
        """Wait for a subscribe, and confirm it."""
        self.hear(ws)
        self.say(ws, type="confirm_subscription", **more)

    def hear(self, ws: WebSocket, timeout: float = 10) -> Any:
        """The next command."""
        self.heard.append(msgspec.json.decode(ws.receive(timeout)))
        return self.heard[-1]

    def _serve(self, ws: WebSocket) -> None:
        ws.send_json({"type": "welcome"})
        next(self._visits)(self, ws)
        for text in ws:
            self.heard.append(msgspec.json.decode(text))

    def __enter__(self) -> Scripted:
        self._server.__enter__()
        self.url = self._server.url
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)
