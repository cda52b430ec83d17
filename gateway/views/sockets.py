"""Bare WebSockets at routes of the app."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Response

from gateway.views.answers import current_server, foreign, plain
from gateway.views.upgrading import requested_upgrade, switch
from gateway.websocket.server import run_handler
from gateway.websocket.socket import WebSocket

__all__ = ["bare_socket"]

_SOCKETS_ONLY = "This address speaks WebSocket only."


def bare_socket(
    handler: Callable[..., object],
    authorize: Callable[..., Any] | None,
    terms: dict[str, Any],
    **view_args: Any,
) -> Response:
    """A bare WebSocket, for ``handler``; see :meth:`Gateway.websocket`."""
    server = current_server()
    upgrade = requested_upgrade(
        server,
        page=partial(plain, 426, _SOCKETS_ONLY, Upgrade="websocket"),
        foreign=foreign,
    )
    known: tuple[Any, ...] = ()
    if authorize is not None:
        guest = authorize(**view_args)
        if guest is False:
            return plain(403, "You may not open this socket.")
        known = (guest,)

    def serve(ws: WebSocket) -> object:
        return handler(ws, *known, **view_args)

    def run(ws: WebSocket) -> None:
        with server.context():
            run_handler(ws, serve)

    return switch(
        upgrade, server, lambda ws: server.endpoint.workers.spawn(run, ws), **terms
    )
