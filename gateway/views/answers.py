"""What the views share: the app's gateway, and how to say no in plain HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

import flask
from flask import Response, request

from gateway.errors import HandshakeRefused, LocalError
from gateway.server import CableServer

__all__ = [
    "STOPPING",
    "Answer",
    "check_origin",
    "current_server",
    "foreign",
    "plain",
    "refused",
]

logger = logging.getLogger("gateway")

STOPPING = "This server is shutting down."

Answer = Callable[[], Response]


def current_server() -> CableServer:
    """The gateway of the current app."""
    server: CableServer | None = flask.current_app.extensions.get("gateway")
    if server is None:
        raise LocalError("the current app has no gateway: call gateway.init_app(app)")
    return server


def check_origin(server: CableServer, answer: Answer) -> None:
    """Abort with ``answer`` if the request comes from a page that may not connect."""
    origin = request.environ.get("HTTP_ORIGIN")
    if not server.origins.allow(origin, host=request.host):
        logger.warning(
            "a page of origin %r may not connect to %s: if it should, add it to "
            "allowed_origins; if it is this app's own, a proxy in front changes Host "
            "(see werkzeug's ProxyFix)",
            origin,
            request.host,
        )
        flask.abort(answer())


def refused(why: HandshakeRefused) -> Response:
    return plain(why.status, why.explanation, **dict(why.headers))


def foreign() -> Response:
    return plain(403, "Pages of this origin may not connect.")


def plain(status: int, text: str, **headers: str) -> Response:
    return Response(f"{text}\n", status, headers, content_type="text/plain")
