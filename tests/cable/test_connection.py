"""Who a client is, settled while it connects."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import reasons
from gateway.cable.connection import Connection, Unauthorized
from gateway.errors import LocalError
from tests.cable.conftest import Wire


class AppConnection(Connection):
    identified_by = ("current_user",)

    def connect(self) -> None:
        self.current_user = self.session.get("name") or self.reject()
        self.seen = self.cookies, self.request


def handshake(**session: str) -> SimpleNamespace:
    return SimpleNamespace(session=session, cookies={"a": "b"}, request="the request")


def test_connect_sees_the_request() -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann"))
    assert connection.identifiers == {"current_user": "ann"}
    assert connection.seen == ({"a": "b"}, "the request")


def test_reject() -> None:
    with pytest.raises(Unauthorized):
        AppConnection().open(handshake())


@pytest.mark.parametrize("what", ["cookies", "request"])
def test_the_request_is_gone_afterwards(what: str) -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann"))
    with pytest.raises(LocalError, match=f"{what} is only there while"):
        getattr(connection, what)


def test_identifiers_are_fixed_once_connected() -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann"))
    connection.visits = 1
    with pytest.raises(LocalError, match="current_user identifies this connection"):
        connection.current_user = "bob"


def test_whoever_cannot_be_named_is_told_apart_from_nobody() -> None:
    class Anonymous:
        def __repr__(self) -> str:
            return "<anonymous>"

    class Anybody(Connection):
        identified_by = ("device", "current_user")

        def connect(self) -> None:
            self.device = 7
            self.current_user = Anonymous()

    with pytest.raises(LocalError) as raised:
        Anybody().open(handshake())
    assert str(raised.value) == (
        "Anybody.current_user identifies the connection, but <anonymous> has no name "
        "that other processes would know it by: give it an id or a method to_param(), "
        "or use a string"
    )


def test_identifiers_are_named_once() -> None:
    class User:
        asked = 0

        def to_param(self) -> str:
            self.asked += 1
            return "ann"

    class Known(Connection):
        identified_by = ("user", "device")

        def connect(self) -> None:
            self.user = user
            self.device = None

    user, connection = User(), Known()
    connection.open(handshake())
    for _ in range(3):
        assert connection.words() == {"user": "ann"}
        assert connection.matches({"user": "ann"})
        assert not connection.matches({"device": "None"})
        assert str(connection) == "ann"
    assert user.asked == 1
    assert connection.identifiers == {"user": user, "device": None}


def test_a_proxy_is_kept_as_what_it_stands_for() -> None:
    """``flask_login.current_user`` is one; it means nobody once the request is over."""

    class Proxy:
        def _get_current_object(self) -> str:
            return here[-1]

    class Known(Connection):
        identified_by = ("user",)

        def connect(self) -> None:
            self.user = Proxy()

    here = ["ann"]
    connection = Known()
    connection.open(handshake())
    here.append("bob")
    assert connection.identifiers == {"user": "ann"}
    assert connection.words() == {"user": "ann"}


@pytest.mark.parametrize("name", ["session", "request", "id", "close", "_words"])
def test_what_every_connection_has_identifies_none(name: str) -> None:
    with pytest.raises(LocalError, match=f"identified by {name}, which every conn"):
        type("Wrong", (Connection,), {"identified_by": (name,)})


def test_the_wire() -> None:
    connection, wire = Connection(), Wire()
    with pytest.raises(LocalError, match="no socket yet"):
        connection.transmit({})
    connection.attach(wire)
    connection.transmit({"a": 1})
    assert wire.sent == [{"a": 1}]
    connection.close()
    assert wire.closed is reasons.REMOTE


def test_hooks_do_nothing_by_default() -> None:
    connection = Connection()
    connection.open(handshake())
    connection.disconnect()
    assert connection.identifiers == {}


def test_the_session_can_be_read_later() -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann", role="cook"))
    assert connection.session["role"] == "cook"
    assert connection.session.get("age", 30) == 30
    assert dict(connection.session) == {"name": "ann", "role": "cook"}
    assert not connection.session.permanent
    assert len(Connection().session) == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.__setitem__("role", "king"),
        lambda session: session.__delitem__("role"),
        lambda session: session.update(role="king"),
        lambda session: session.update({"age": 30}),
        lambda session: session.setdefault("age", 30),
        lambda session: session.pop("role"),
        lambda session: session.popitem(),
        lambda session: session.clear(),
        lambda session: setattr(session, "permanent", True),
        lambda session: setattr(session, "modified", True),
    ],
)
def test_the_session_cannot_be_written_later(write: Callable[[Any], object]) -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann", role="cook"))
    with pytest.raises(LocalError, match="cannot be set over a WebSocket, which sends"):
        write(connection.session)
    assert dict(connection.session) == {"name": "ann", "role": "cook"}


def test_a_string_is_no_list_of_identifiers() -> None:
    with pytest.raises(LocalError, match=r"write a tuple, \('current_user',\)"):
        type("Wrong", (Connection,), {"identified_by": "current_user"})


def test_whom_it_is() -> None:
    connection, wire = AppConnection(), Wire()
    connection.open(handshake(name="ann"))
    assert str(connection) == "ann"
    connection.attach(wire)
    assert str(connection) == f"#{wire.id} ann"
    assert connection.id == wire.id
    assert connection.matches({"current_user": "ann"})
    assert not connection.matches({"current_user": "bob"})
    assert not connection.matches({"room": "1"})


def test_its_log_lines_say_whose_they_are(caplog: pytest.LogCaptureFixture) -> None:
    connection = AppConnection()
    connection.open(handshake(name="ann"))
    connection.logger.warning("late by %d s", 3)
    assert caplog.messages == ["ann: late by 3 s"]
