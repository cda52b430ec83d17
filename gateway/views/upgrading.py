"""From a request to a WebSocket: what every view that upgrades does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import flask
from flask import Response, request

from gateway.errors import HandshakeRefused
from gateway.server import CableServer
from gateway.views.answers import STOPPING, Answer, check_origin, plain, refused
from gateway.websocket.socket import WebSocket
from gateway.websocket.upgrade import ENVIRON_KEY, Upgrade

__all__ = ["requested_upgrade", "switch"]

_HOW_TO_SERVE = """\
This address speaks WebSocket, but the server that runs this app cannot upgrade to it.
Serve the app with `gateway serve`, `flask gateway serve`, or
`gunicorn -k gateway.worker.GatewayWorker`."""


def requested_upgrade(server: CableServer, *, page: Answer, foreign: Answer) -> Upgrade:
    """The request's upgrade, or an abort with plain HTTP.

    ``page`` answers a request for a page, ``foreign`` one from a page that may not
    connect.
    """
    if ENVIRON_KEY not in request.environ:
        flask.abort(plain(426, _HOW_TO_SERVE, Upgrade="websocket"))
    upgrade: Upgrade | None = request.environ[ENVIRON_KEY]
    if upgrade is None:
        flask.abort(page())
    if server.draining:
        flask.abort(plain(503, STOPPING, **{"Retry-After": "1"}))
    check_origin(server, foreign)
    try:  # before anybody is asked who they are
        upgrade.reserve(
            server.endpoint, trusted_proxies=server.settings.trusted_proxies
        )
    except HandshakeRefused as why:
        flask.abort(refused(why))
    return upgrade


def switch(
    upgrade: Upgrade,
    server: CableServer,
    opened: Callable[[WebSocket], object],
    **terms: Any,
) -> Response:
    trusted = server.settings.trusted_proxies
    try:
        headers = upgrade.accept(
            server.endpoint, opened, trusted_proxies=trusted, **terms
        )
    except HandshakeRefused as why:
        return refused(why)
    return _Switch(status=101, headers=headers)


class _Switch(Response):
    """An answer without a body, which need not be completed: it is whole."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        return ()
