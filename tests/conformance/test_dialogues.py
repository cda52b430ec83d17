"""Recorded dialogues: who says what, byte for byte, and what must come back.

Each file in ``dialogues/`` is one, a JSON object a line:

    {"about": "…", "config": {…}}               what it shows; settings of the app
    {"open": "/cable", "offer": […]}            the client asks for an upgrade
    {"get": "/cable"}                           or for a page
    {"answer": 101, "chosen": "…"}              the server's answer, and subprotocol
    {"client": "…"}  {"server": "…"}            a text message; <digits> stands for some
    {"client_binary": "7b7d"}                   a binary message, in hexadecimal
    {"client_close": 1001}  {"server_close": 1001}
    {"broadcast": "room_1", "message": …}       the program says something
    {"flood": "room_1"}                         more than the client can be sent
    {"after_flood": "…"}                        a text message behind what it was sent
    {"disconnect": {"user": "ann"}, "reconnect": false}    sends somebody away
    {"drain": true}                             or stops
    {"release": true}                           what SlowChannel waits for has come
    {"log": "…"}  {"no_log": "…"}               what the server must (not) have written
    {"fence": 1}                                nothing else may be on its way
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gevent
import msgspec
import pytest
from flask import Flask, current_app
from gevent.event import Event
from websockets.frames import Close, Frame, Opcode

from gateway import (
    Channel,
    Connection,
    Gateway,
    action,
    before_subscribe,
    reasons,
    rescue_from,
)
from gateway.server import CableServer
from tests.support import eventually
from tests.support.app import Served, identify
from tests.support.raw import RawClient, frame

DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.jsonl"))

Step = dict[str, Any]

logger = logging.getLogger("tests.dialogues")

_BEAT = b'{"type":"ping"'


class Person(Connection):
    identified_by = ("user",)

    def connect(self) -> None:
        self.user = self.session.get("name", "guest")
        if self.user == "banned":
            self.reject()
        if self.user == "unlucky":
            raise RuntimeError("on purpose")

    @rescue_from(IndexError)
    def out_of_range(self, exc: IndexError) -> None:
        logger.info("rescued by the connection")


class RoomChannel(Channel):
    def subscribed(self) -> None:
        self.called = 0
        if self.params["room"] == "closed":
            self.reject()
        if self.params["room"] == "broken":
            raise RuntimeError("on purpose")
        self.stream_from(f"room_{self.params['room']}")

    def unsubscribed(self) -> None:
        logger.info("RoomChannel unsubscribed")

    def receive(self, data: dict[str, Any]) -> None:
        self.transmit(["received", data])

    @action
    def speak(self, data: dict[str, Any]) -> None:
        server: CableServer = current_app.extensions["gateway"]
        server.broadcast("room_1", {"body": data["body"]})

    @action
    def echo(self, data: dict[str, Any]) -> None:
        self.transmit(data["text"])

    @action
    def whole(self, data: dict[str, Any]) -> None:
        self.transmit(data)

    @action
    def count(self) -> None:
        self.called += 1
        self.transmit(self.called)

    @action
    def fail(self) -> None:
        raise RuntimeError("on purpose")

    @action
    def miss(self) -> None:
        raise KeyError("on purpose")

    @rescue_from(KeyError)
    def missed(self, exc: KeyError) -> None:
        self.transmit("rescued by the channel")

    @action
    def overrun(self) -> None:
        raise IndexError("on purpose")

    @action
    def leave(self) -> None:
        self.connection.close(reasons.REMOTE._replace(reconnect=False))

    def helper(self) -> None:
        raise AssertionError("not an action")

    def _secret(self) -> None:
        raise AssertionError("not an action")


class GreetingChannel(Channel):
    def subscribed(self) -> None:
        self.transmit("hello")


class SlowChannel(Channel):
    released: ClassVar[Event]

    def subscribed(self) -> None:
        logger.info("SlowChannel is asked")
        self.released.wait()

    @action
    def echo(self, data: dict[str, Any]) -> None:
        self.transmit(data["text"])


class CarefulChannel(Channel):
    @before_subscribe
    def check(self) -> None:
        if self.params["room"] == "closed":
            self.reject()

    def subscribed(self) -> None:
        logger.info("CarefulChannel is asked")
        self.stream_from(f"room_{self.params['room']}")
        if self.params["room"] == "later":
            self.defer_confirmation()

    def unsubscribed(self) -> None:
        logger.info("CarefulChannel is left")
        if self.params["room"] == "failing":
            raise RuntimeError("on purpose")

    @action
    def now(self) -> None:
        self.confirm()

    @action
    def no(self) -> None:
        self.reject()


class FenceChannel(Channel):
    pass


def make_app(config: dict[str, Any]) -> Flask:
    app = Flask("tests.dialogues")
    app.secret_key = "not secret"
    SlowChannel.released = Event()
    app.config.update({"GATEWAY_PING_INTERVAL": 60, "GATEWAY_HISTORY": 0, **config})
    gateway = Gateway(app)
    gateway.connection(Person)
    for channel in (
        *(RoomChannel, GreetingChannel, SlowChannel),
        *(CarefulChannel, FenceChannel),
    ):
        gateway.channel(channel)
    return app


class Dialogue:
    """One client and the server, doing what is written."""

    def __init__(self, served: Served, log: Callable[[], str]) -> None:
        self.served = served
        self.client = RawClient(served.port)
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.said = 0  # bytes
        self._written = log

    def run(self, step: Step) -> None:
        verb = next(iter(step))
        getattr(self, f"_{verb}")(step)

    def _open(self, step: Step) -> None:
        headers = {"Sec-WebSocket-Protocol": ", ".join(step["offer"])}
        if "session" in step:
            headers |= self.served.cookie(step["session"])
        headers |= step.get("headers", {})
        at_once = [
            frame(Opcode.TEXT, text.encode()) for text in step.get("at_once", [])
        ]
        self.answer = self.client.request(step["open"], headers, body=b"".join(at_once))

    def _get(self, step: Step) -> None:
        self.client.send(f"GET {step['get']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.answer = self.client.response()

    def _answer(self, step: Step) -> None:
        assert self.answer is not None
        status, headers, body = self.answer
        assert status == step["answer"]
        if "chosen" in step:
            assert headers.get("sec-websocket-protocol") == step["chosen"]
        if "body" in step:
            assert body.decode() == step["body"]

    def _client(self, step: Step) -> None:
        message = frame(Opcode.TEXT, step["client"].encode())
        self.said += len(message)
        self.client.send(message)

    def _client_binary(self, step: Step) -> None:
        self.client.send(frame(Opcode.BINARY, bytes.fromhex(step["client_binary"])))

    def _client_close(self, step: Step) -> None:
        payload = step["client_close"].to_bytes(2, "big")
        self.client.send(frame(Opcode.CLOSE, payload))

    def _next(self, wanted: str = "") -> Frame:
        """The next frame; heartbeats come at any time, so they may be passed over."""
        while True:
            got = self.client.receive()
            assert got is not None, "the server has closed the connection"
            beat = got.data.startswith(_BEAT) and not wanted.startswith(_BEAT.decode())
            if not beat and got.opcode is not Opcode.PING:
                return got

    def _server(self, step: Step) -> None:
        got = self._next(step["server"])
        assert got.opcode is Opcode.TEXT, got
        wanted = re.escape(step["server"]).replace("<digits>", r"\d+")
        assert re.fullmatch(wanted, bytes(got.data).decode()), got

    def _server_close(self, step: Step) -> None:
        got = self._next()
        assert got.opcode is Opcode.CLOSE, got
        assert Close.parse(got.data).code == step["server_close"]
        self.client.send(frame(Opcode.CLOSE, bytes(got.data[:2])))
        self.client.receive_eof()

    def _broadcast(self, step: Step) -> None:
        self.served.cable.broadcast(step["broadcast"], step["message"])

    def _flood(self, step: Step) -> None:
        (ws,) = self.served.cable.endpoint.sockets
        while ws.close_reason is None:
            self.served.cable.broadcast(step["flood"], "x" * 50_000)
            gevent.sleep()

    def _after_flood(self, step: Step) -> None:
        while (got := self._next()).data.endswith(b'xxx"}'):
            pass
        assert bytes(got.data).decode() == step["after_flood"]

    def _disconnect(self, step: Step) -> None:
        self.served.cable.disconnect(step["disconnect"], reconnect=step["reconnect"])

    def _release(self, step: Step) -> None:
        (ws,) = self.served.cable.endpoint.sockets
        eventually(lambda: ws.bytes_in == self.said)
        SlowChannel.released.set()

    def _drain(self, step: Step) -> None:
        gevent.spawn(self.served.cable.drain)

    def _log(self, step: Step) -> None:
        eventually(lambda: step["log"] in self._written())

    def _no_log(self, step: Step) -> None:
        assert step["no_log"] not in self._written()

    def _fence(self, step: Step) -> None:
        """What was said before has been carried out, and answered with no more."""
        identifier = identify("FenceChannel", number=step["fence"])
        self.client.send_text(_encode(command="subscribe", identifier=identifier))
        self._server(
            {"server": _encode(identifier=identifier, type="confirm_subscription")}
        )


def _encode(**frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


@pytest.fixture(params=DIALOGUES, ids=lambda file: file.stem)
def steps(request: pytest.FixtureRequest) -> list[Step]:
    return [
        msgspec.json.decode(line) for line in request.param.read_bytes().splitlines()
    ]


def test_a_dialogue(steps: list[Step], caplog: pytest.LogCaptureFixture) -> None:
    config = steps[0].get("config", {})
    with (
        caplog.at_level(logging.INFO),
        Served(make_app(config)) as served,
    ):
        dialogue = Dialogue(served, lambda: caplog.text)
        for step in steps[1:]:
            dialogue.run(step)
