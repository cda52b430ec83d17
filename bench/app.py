"""The application that is measured."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import gevent.monkey

gevent.monkey.patch_all()

from flask import Flask  # noqa: E402  # sockets are to be patched first
from gevent import get_hub, sleep, spawn  # noqa: E402

from bench.cookie import SECRET  # noqa: E402
from gateway import Channel, Connection, Gateway, action  # noqa: E402

app = Flask(__name__)
app.secret_key = SECRET
gateway = Gateway(app)


@gateway.connection
class BenchConnection(Connection):
    """Reads who it is from Flask's session, as applications do."""

    identified_by = ("current_user",)
    current_user: str

    def connect(self) -> None:
        self.current_user = self.session.get("name") or "guest"


@gateway.channel
class ChatChannel(Channel):
    """A room; ``room_id`` says which."""

    def subscribed(self) -> None:
        self.stream_from(self.room)

    @action
    def speak(self, data: dict[str, Any]) -> None:
        gateway.broadcast(
            self.room, {"message": data["message"], "user": self.current_user}
        )

    @property
    def room(self) -> str:
        return f"chat_{self.params['room_id']}"


@gateway.channel
class EchoChannel(Channel):
    """Sends back what it is sent."""

    @action
    def echo(self, data: dict[str, Any]) -> None:
        del data["action"]
        self.transmit(data)


@gateway.channel
class ManyChannel(Channel):
    """As many streams at once as ``streams`` says."""

    def subscribed(self) -> None:
        for number in range(self.params["streams"]):
            self.stream_from(f"many_{number}")

    @action
    def publish(self, data: dict[str, Any]) -> None:
        """Broadcast once to each stream, in one turn of the loop."""
        for number in range(self.params["streams"]):
            gateway.broadcast(f"many_{number}", data["message"])

    @action
    def publish_to(self, data: dict[str, Any]) -> None:
        """Broadcast to one of the streams."""
        gateway.broadcast(f"many_{data['stream']}", {"message": data["message"]})


@gateway.channel
class QuotesChannel(Channel):
    """A stream that is published more often than it is read."""

    def subscribed(self) -> None:
        self.stream_from("quotes", max_rate=self.params.get("max_rate"))

    @action
    def flood(self, data: dict[str, Any]) -> None:
        """Publish ``times`` messages, ``rate`` a second, ``padding`` bytes longer."""
        spawn(self._flood, data["times"], data["rate"], "x" * data.get("padding", 0))

    def _flood(self, times: int, rate: float, padding: str) -> None:
        start = perf_counter()
        for number in range(times):
            sleep(max(0.0, start + number / rate - perf_counter()))
            quote = {"price": f"@@{number:012d}@@", "padding": padding}
            gateway.broadcast("quotes", quote)


class Lag:
    """How long the loop was away from a timer that wants it every millisecond."""

    def __init__(self) -> None:
        self._timer: Any = None
        self._seen = 0.0
        self.longest_s = 0.0

    def start(self) -> None:
        self.longest_s = 0.0
        self._seen = perf_counter()
        if self._timer is None:
            self._timer = get_hub().loop.timer(0.001, 0.001, ref=False)
            self._timer.start(self._tick)

    def _tick(self) -> None:
        now = perf_counter()
        self.longest_s = max(self.longest_s, now - self._seen)
        self._seen = now


lag = Lag()


@app.get("/lag/start")
def start_lag() -> dict[str, Any]:
    """Begin to watch the loop."""
    lag.start()
    return {}


@app.get("/figures")
def figures() -> dict[str, Any]:
    """What the server itself has counted."""
    endpoint = app.extensions["gateway"].endpoint
    return {
        "writes": endpoint.turn.writes,
        "messages_out": endpoint.turn.messages_out,
        "bytes_out": endpoint.turn.bytes_out,
        "conflated": endpoint.turn.conflated,
        "most_waiting_bytes": max(
            (ws.outbox.waiting_bytes for ws in endpoint.sockets), default=0
        ),
        "closed": dict(endpoint.closed),
        "sockets": len(endpoint.sockets),
        "streams": len(app.extensions["gateway"].hub.streams),
        "longest_lag_s": lag.longest_s,
    }
