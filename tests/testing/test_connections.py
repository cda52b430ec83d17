"""Connections that connect in a request of the app, and such that never did."""

from __future__ import annotations

from weakref import WeakSet

import flask
import pytest
from flask import Flask
from werkzeug.exceptions import Forbidden

from gateway import Connection, reasons
from gateway.cable.connection import Unauthorized
from gateway.consumer import Disconnected
from gateway.errors import HandshakeRefused, LocalError
from gateway.server import CableServer
from gateway.testing import (
    assert_reject_connection,
    connect,
    stub_connection,
    subscribe,
)
from tests.testing.conftest import Person, RoomChannel


@pytest.mark.usefixtures("app")
def test_a_connection_connects_in_a_request() -> None:
    assert connect(Person, session={"name": "ann"}).user == "ann"
    assert connect(Person, cookies={"name": "bob"}).user == "bob"
    assert connect(Person, "/cable?token=1").user == "token 1"
    assert connect(Person, query={"token": "2"}).user == "token 2"
    assert connect(Person, headers={"X-Key": "3"}).user == "key 3"


def test_it_sees_the_app_that_is_at_hand(app: Flask) -> None:
    class Curious(Connection):
        identified_by = ("seen",)

        def connect(self) -> None:
            self.seen = f"{flask.current_app.name} {flask.request.path}"

    assert connect(Curious).seen == "tests.testing /cable"


def test_a_connection_needs_no_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CableServer, "running", WeakSet())  # of other tests' apps
    assert connect(Person, "/elsewhere?token=1").user == "token 1"


@pytest.mark.usefixtures("app")
def test_what_the_app_answers_instead_is_raised() -> None:
    with pytest.raises(HandshakeRefused, match="HTTP 200: closed today"):
        connect(Person, "/cable?closed=1")
    with pytest.raises(Forbidden):
        connect(Person, "/cable?fail=403")


@pytest.mark.usefixtures("app")
def test_a_rejection_is_asserted() -> None:
    with assert_reject_connection():
        connect(Person)
    with pytest.raises(Unauthorized):
        connect(Person)


@pytest.mark.usefixtures("app")
def test_a_connection_that_is_not_rejected_fails_the_assertion() -> None:
    with (
        pytest.raises(AssertionError, match="the connection was not rejected"),
        assert_reject_connection(),
    ):
        connect(Person, session={"name": "ann"})


def test_only_rejection_counts_as_rejection() -> None:
    with pytest.raises(Disconnected, match="remote"), assert_reject_connection():
        raise Disconnected("remote")


def test_a_stub_has_the_identifiers_it_is_given() -> None:
    stub = stub_connection(user="ann", device=7)
    assert stub.identifiers == {"user": "ann", "device": 7}
    assert stub.words() == {"user": "ann", "device": "7"}
    assert isinstance(stub_connection(Person, user="ann"), Person)
    assert stub_connection(Person, device=7).identifiers == {"user": None, "device": 7}


def test_a_stub_is_nobody_that_a_connection_could_not_be() -> None:
    with pytest.raises(LocalError, match=r"user identifies the connection, but {} has"):
        stub_connection(user={})


def test_only_connections_of_the_kit_can_subscribe() -> None:
    with pytest.raises(LocalError, match=r"made by stub_connection\(\) or connect\(\)"):
        subscribe(RoomChannel, Connection(), room_id=1)


def test_an_action_may_close_the_connection() -> None:
    room = subscribe(RoomChannel, stub_connection(user="ann"), room_id=1)
    assert room.closed is None
    room.perform("leave")
    assert room.closed == reasons.REMOTE
