"""Connections without sockets: made by ``connect``, or just of somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import flask
from flask import Flask

from gateway.cable.connection import Connection, Unauthorized
from gateway.consumer import Disconnected
from gateway.errors import HandshakeRefused, LocalError
from gateway.testing.surroundings import server_at_hand
from gateway.testing.wire import StubWire
from gateway.views import Handshake

__all__ = ["assert_reject_connection", "connect", "stub_connection", "wire_of"]

C = TypeVar("C", bound=Connection)


def connect(
    cls: type[C],
    path: str | None = None,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    session: Mapping[str, Any] | None = None,
    cookies: Mapping[str, str] | None = None,
) -> C:
    """Run a connection class's ``connect``, in the request of a client like this.

    The request is one to the app at hand, whose ``before_request`` functions run first;
    without an app it is one to an app that has nothing but a name. ``path`` may have a
    query: ``"/cable?token=1"``.

    >>> from flask import Flask
    >>> from gateway import Connection, Gateway
    >>> app = Flask("shop")
    >>> @Gateway(app).connection
    ... class AppConnection(Connection):
    ...     identified_by = ("current_user",)
    ...     def connect(self):
    ...         self.current_user = self.request.args.get("user") or self.reject()
    >>> with app.app_context():
    ...     connect(AppConnection, query={"user": "ann"}).identifiers
    {'current_user': 'ann'}

    Raises:
        Unauthorized: it was rejected; see :func:`assert_reject_connection`.
        HandshakeRefused: a ``before_request`` function answered instead.
        HTTPException: ``connect`` aborted, ``flask.abort(401)`` say.
    """
    server = server_at_hand()
    app = _nameless if server is None else server.app
    assert isinstance(app, Flask)
    where = path or ("/cable" if server is None else server.settings.path)
    cookie = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
    given = {**(headers or {}), **({"Cookie": cookie} if cookie else {})}
    connection = cls()
    with app.test_request_context(where, query_string=query, headers=given):
        if session:
            flask.session.update(session)
        answer = app.preprocess_request()
        if answer is not None:
            response = app.make_response(answer)
            text = response.get_data(as_text=True)
            raise HandshakeRefused(response.status_code, text)
        connection.open(Handshake())
    connection.attach(StubWire())
    return connection


_nameless = Flask(__name__)
_nameless.secret_key = "for tests"


def stub_connection(
    cls: type[Connection] = Connection, /, **identifiers: Any
) -> Connection:
    """A connection that has these identifiers, without having connected.

    >>> stub_connection(current_user="ann").identifiers
    {'current_user': 'ann'}

    Other identifiers of its class are None.

    Raises:
        LocalError: other processes would have no name for one of them.
    """
    names = tuple(dict.fromkeys([*cls.identified_by, *identifiers]))
    unknown = {name: None for name in names if not hasattr(cls, name)}
    namespace = {**unknown, **identifiers, "identified_by": names}
    connection: Connection = type(cls.__name__, (cls,), namespace)()
    connection.settle()
    connection.attach(StubWire())
    return connection


def wire_of(connection: Connection) -> StubWire:
    """Where it keeps what it was sent.

    Raises:
        LocalError: it is none of the kit's.
    """
    wire = connection._wire
    if not isinstance(wire, StubWire):
        raise LocalError("give a connection made by stub_connection() or connect()")
    return wire


@contextmanager
def assert_reject_connection() -> Iterator[None]:
    """What is within must be rejected: :func:`connect`, or :func:`cable_client`."""
    try:
        yield
    except Unauthorized:
        return
    except Disconnected as exc:
        if exc.reason == "unauthorized":
            return
        raise
    raise AssertionError("the connection was not rejected")
