"""Clients of the whole app."""

from __future__ import annotations

import pytest
from flask import Flask

from gateway.errors import HandshakeRefused
from gateway.testing import (
    LiveGateway,
    assert_broadcast_on,
    assert_reject_connection,
    cable_client,
)
from tests.support import eventually
from tests.support.raw import RawClient


def test_a_cable_client_has_the_session_of_its_test_client(app: Flask) -> None:
    browser = app.test_client()
    browser.get("/login/ann")
    with cable_client(browser) as consumer:
        room = consumer.subscribe("RoomChannel", room_id=1).wait_confirmed()
        assert room.receive(5) == {"welcome": {"user": "ann"}}
        room.perform("speak", text="hi")
        assert room.receive(5) == "hi"
    assert_broadcast_on("room:1", "hi")


def test_a_cable_client_is_rejected_as_a_browser_is(app: Flask) -> None:
    with assert_reject_connection():
        cable_client(app.test_client())


def test_a_cable_client_is_refused_as_a_browser_is(app: Flask) -> None:
    with pytest.raises(HandshakeRefused, match="404"):
        cable_client(app.test_client(), "/nowhere")


def test_the_live_gateway_serves_the_app(live_gateway: LiveGateway) -> None:
    headers = live_gateway.cookie({"name": "ann"})
    with live_gateway.consumer(headers=headers) as consumer:
        consumer.wait_connected()
        (info,) = live_gateway.cable.connections()
        assert info.identifiers == {"user": "ann"}
    eventually(lambda: not live_gateway.cable.connections())
    assert live_gateway.url == f"http://127.0.0.1:{live_gateway.port}"
    with live_gateway.connect(headers=headers) as ws:
        assert ws.receive(5) == '{"type":"welcome"}'


def test_it_stops_whatever_its_clients_do(app: Flask) -> None:
    live = LiveGateway(app)
    deaf = RawClient(live.port)
    assert deaf.request("/cable")[0] == 101
    events = RawClient(live.port)
    token = {"Upgrade": None, "Connection": "close"}
    events.request("/cable/events?channel=RoomChannel&room_id=1&token=1", token)
    eventually(lambda: live.cable.event_streams and live.cable.endpoint.sockets)
    live.stop()
    eventually(lambda: not live.cable.event_streams and not live.cable.endpoint.sockets)
    with LiveGateway(app) as again:
        cookie = again.cookie({"name": "ann"})
        again.connect(headers=cookie).close()
