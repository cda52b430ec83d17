"""What a process tells its adapter from time to time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flask import Flask

from gateway import Channel, Gateway
from gateway import server as server_module
from gateway.control import CONTROL
from gateway.pubsub.memory import MemoryPubSub
from tests.support import eventually
from tests.support.app import Served


class Attentive(MemoryPubSub):
    """Remembers what it was told last."""

    touched: dict[str, list[str]]
    prolonged: list[str]

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        self.touched = sessions
        return super().touch(sessions)

    def prolong(self, streams: Iterable[str]) -> None:
        self.prolonged = list(streams)


class RoomChannel(Channel):
    def subscribed(self) -> None:
        self.stream_from(f"room_{self.params['n']}", presence=True)
        self.join_presence("ann")
        self.stream_from("fleeting")


def test_who_is_there_and_what_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "TOUCH_S", 0.02)
    monkeypatch.setattr(server_module, "PROLONG_S", 0.02)
    app = Flask("rounds")
    app.config["GATEWAY_ADAPTER"] = f"{__name__}:Attentive"
    app.config["GATEWAY_HISTORY_STREAMS"] = {"fleeting": 0}
    gateway = Gateway(app)
    gateway.channel(RoomChannel)
    with Served(app) as served:
        pubsub = served.cable.pubsub
        assert isinstance(pubsub, Attentive)
        client = served.client()
        client.subscribe("RoomChannel", n=1)
        eventually(lambda: len(getattr(pubsub, "touched", {}).get("room_1", ())) == 1)
        eventually(lambda: pubsub.prolonged == [CONTROL, "room_1"])
        client.ws.close()
        eventually(lambda: not pubsub.touched)
        eventually(lambda: pubsub.prolonged == [CONTROL])
