"""An app with a room, whose channel does a bit of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flask
import msgspec
import pytest
from flask import Flask

from gateway import (
    Channel,
    Connection,
    Gateway,
    action,
    after_command,
    before_command,
    periodically,
    reasons,
    rescue_from,
)

__all__ = ["Order", "Person", "Room", "RoomChannel"]


@dataclass
class Room:
    id: int


class Order(msgspec.Struct):
    item: str


class Person(Connection):
    identified_by = ("user",)

    def connect(self) -> None:
        if "token" in self.request.args:
            self.user = f"token {self.request.args['token']}"
        elif "X-Key" in self.request.headers:
            self.user = f"key {self.request.headers['X-Key']}"
        elif self.request.args.get("fail"):
            flask.abort(int(self.request.args["fail"]))
        else:
            self.user = self.session.get("name") or self.cookies.get("name")
        if self.user is None:
            self.reject()

    @before_command
    def count(self) -> None:
        if self.user == "unlucky":
            raise RuntimeError("no luck today")
        self.begun = getattr(self, "begun", 0) + 1

    @after_command
    def count_back(self) -> None:
        self.ended = getattr(self, "ended", 0) + 1


class RoomChannel(Channel):
    def subscribed(self) -> None:
        self.ticks = 0
        match self.params.get("room_id"):
            case None:
                self.reject()
            case "broken":
                raise RuntimeError("on purpose")
            case "later":
                self.defer_confirmation()
            case room:
                self.stream_for(room)
                self.stream_from("news", self.heard)
                self.transmit({"welcome": self.connection.identifiers})

    def unsubscribed(self) -> None:
        self.broadcast_to("left", self.params["room_id"])

    def heard(self, message: Any) -> None:
        if message == "worse":
            raise RuntimeError("bad news")
        self.transmit({"heard": message})

    @periodically(3)
    def tick(self) -> None:
        self.ticks += 1
        self.transmit({"tick": self.ticks})

    @periodically(60)
    def look(self) -> None:
        raise RuntimeError("nothing to see")

    @action
    def speak(self, data: dict[str, Any]) -> None:
        self.broadcast_to(self.params["room_id"], data["text"])

    @action
    def tell(self, data: dict[str, Any]) -> None:
        flask.current_app.extensions["gateway"].broadcast("news", data["text"])
        self.transmit("told")

    @action
    def echo(self, data: dict[str, Any]) -> None:
        self.transmit(data)

    @action
    def order(self, order: Order) -> None:
        self.transmit(order.item)

    @action
    def now(self) -> None:
        self.confirm()

    @action
    def where(self) -> None:
        first = "seen" not in flask.g
        flask.g.seen = True
        self.transmit([flask.current_app.name, first])

    @action
    def fail(self) -> None:
        raise RuntimeError("on purpose")

    @action
    def mended(self) -> None:
        raise LookupError("on purpose")

    @action
    def mended_badly(self) -> None:
        raise ZeroDivisionError("on purpose")

    @action
    def leave(self) -> None:
        self.connection.close(reasons.REMOTE)

    @rescue_from(LookupError)
    def mend(self, exc: LookupError) -> None:
        self.transmit("mended")

    @rescue_from(ZeroDivisionError)
    def mend_badly(self, exc: ZeroDivisionError) -> None:
        raise RuntimeError("while mending") from exc


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("tests.testing")
    app.secret_key = "not secret"
    app.config["GATEWAY_ADAPTER"] = "test"
    gateway = Gateway(app)
    gateway.connection(Person)
    gateway.channel(RoomChannel)

    @app.before_request
    def closed() -> str | None:
        return "closed today" if flask.request.args.get("closed") else None

    @app.get("/login/<name>")
    def login(name: str) -> str:
        flask.session["name"] = name
        return name

    @app.get("/say/<text>")
    def say(text: str) -> str:
        gateway.broadcast("news", text)
        return text

    yield app
    app.extensions["gateway"].stop()
