"""The rest of Rails' JavaScript API, with the unmodified npm package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from gateway import Channel, Connection, Gateway
from tests.integration.conftest import Node
from tests.support import eventually
from tests.support.app import Served

pytestmark = [pytest.mark.node, pytest.mark.process]


@pytest.fixture
def app() -> Flask:
    app = Flask("tests.api")
    gateway = Gateway(app)

    @gateway.connection
    class ApiConnection(Connection):
        identified_by = ("visit",)

        def connect(self) -> None:
            self.visit = self.request.args["visit"]
            offer = self.request.headers["Sec-WebSocket-Protocol"]
            self.offered = [word.strip() for word in offer.split(",")]

    @gateway.channel
    class ApiChannel(Channel):
        def receive(self, data: dict[str, Any]) -> None:
            self.transmit([self.visit, self.connection.offered, data])

    return app


def test_a_consumer_connects_disconnects_and_sends(
    app: Flask, node: Callable[..., Node]
) -> None:
    """Its URL is a function, asked anew each time; it offers a protocol of its own."""
    offered = '"actioncable-v1-json","actioncable-unsupported","anycable-token.secret"'
    with Served(app) as served:
        client = node("rails_api.mjs", f"ws://127.0.0.1:{served.port}/cable")
        for visit in (1, 2):
            eventually(lambda n=visit: client.lines.count("connected") == n)
            client.say("send")
            client.wait_for(f'received ["{visit}",[{offered}],{{"text":"hello"}}]')
            client.say("disconnect")
            eventually(lambda n=visit: client.lines.count("disconnected false") == n)
            client.say("send")
            eventually(lambda n=visit: client.lines.count("sent false") == n)
            client.say("connect")
        assert client.lines.count("sent true") == 2
