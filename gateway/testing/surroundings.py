"""Which app a test is about: callbacks run in its context, as when served."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import flask
import pytest
from flask import Flask

from gateway.cable.channel import Channel
from gateway.errors import LocalError
from gateway.server import CableServer

__all__ = ["context_of", "of_this_test", "server_at_hand"]

of_this_test: list[pytest.FixtureRequest] = []
"""The request for fixtures of the test that runs; the plugin keeps it here."""


def server_at_hand(channel: type[Channel] | None = None) -> CableServer | None:
    """The gateway that a test is about; None if there is none.

    It is that of the app in whose context we are; else of the test's fixture ``app``;
    else of the only app that there is, or the only one that has the channel.

    Raises:
        LocalError: there are several.
    """
    app = flask.current_app or _fixture()
    if app and "gateway" in app.extensions:
        server: CableServer = app.extensions["gateway"]
        return server
    servers = [s for s in CableServer.running if channel is None or _has(s, channel)]
    if len(servers) > 1:
        having = "" if channel is None else f" have {channel.__name__}"
        raise LocalError(
            f"several apps{having}: call the fixture that makes yours `app`, or work "
            "within app.app_context()"
        )
    return servers[0] if servers else None


def context_of(server: CableServer | None) -> AbstractContextManager[Any]:
    """A fresh app context, or the one in which the test is anyway."""
    if server is None or (flask.current_app and flask.current_app == server.app):
        return nullcontext()
    return server.context()


def _has(server: CableServer, channel: type[Channel]) -> bool:
    return channel in server.channels.values()


def _fixture() -> Flask | None:
    for request in of_this_test:
        if "app" in request.fixturenames:
            app = request.getfixturevalue("app")
            return app if isinstance(app, Flask) else None
    return None
