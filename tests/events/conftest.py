"""An app whose channels are listened to as events."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from flask import Flask

from gateway import Channel, Connection, Gateway, periodically, rescue_from
from tests.support.app import Served


@pytest.fixture
def served() -> Iterator[Served]:
    app = Flask("tests.events")
    app.secret_key = "not secret"
    gateway = Gateway(app)

    @gateway.connection
    class AppConnection(Connection):
        identified_by = ("user",)

        def connect(self) -> None:
            if self.session.get("banned"):
                self.reject()
            if self.session.get("broken"):
                raise RuntimeError("on purpose")
            self.user = self.session.get("name", "guest")

        def disconnect(self) -> None:
            app.config.setdefault("LEFT", []).append(self.user)
            if self.user == "unlucky":
                raise RuntimeError("no luck today")
            if self.user == "mended":
                raise LookupError("mended")

        @rescue_from(LookupError)
        def mend(self, error: LookupError) -> None:
            app.config.setdefault("MENDED", []).append(str(error))

    @gateway.channel
    class ClockChannel(Channel):
        """Says who listens, again and again."""

        @periodically(0.02)
        def tick(self) -> None:
            self.transmit(self.connection.id)

    @gateway.channel
    class SlowChannel(Channel):
        """Says how many of its jobs are about, each of which outlasts its period."""

        @periodically(0.01)
        def tick(self) -> None:
            gevent.sleep(0.1)
            self.transmit(running.cable.endpoint.workers.busy)

    @gateway.channel
    class LateChannel(Channel):
        """Rejects after a while."""

        def subscribed(self) -> None:
            self.defer_confirmation()
            gevent.spawn(self.reject)

    @gateway.channel
    class TwinsChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from("left")
            self.stream_from("right")

    @gateway.channel
    class PricesChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from("prices", max_rate=50, conflate="merge")

    @gateway.channel
    class RoomChannel(Channel):
        def subscribed(self) -> None:
            if self.params.get("room") == "closed":
                self.reject()
            self.stream_from(f"room_{self.params['room']}")
            self.transmit({"hello": self.user})

    app.config["BROADCAST"] = gateway.broadcast
    app.config["DISCONNECT"] = gateway.disconnect
    with Served(app) as running:
        yield running
