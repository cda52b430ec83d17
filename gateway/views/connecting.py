"""Who a client is, whichever way it came: its connection opens, or is rejected."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flask
from flask import request, session
from gevent import Timeout
from werkzeug.exceptions import HTTPException

from gateway import reasons
from gateway.cable.connection import Connection, Unauthorized
from gateway.errors import PubSubError
from gateway.reasons import CloseReason
from gateway.server import CableServer
from gateway.signals import announce
from gateway.views.answers import plain

__all__ = ["Handshake", "MakeConnection", "connect", "start"]

logger = logging.getLogger("gateway")

_FAILURES = (Exception, Timeout)

MakeConnection = Callable[[], Connection]


def connect(server: CableServer, connection: Connection) -> CloseReason | None:
    """Let it connect; returns why it must go. What it aborts with is let through."""
    try:
        try:
            connection.open(Handshake())
        except (Unauthorized, HTTPException):
            raise
        except _FAILURES as exc:
            if not connection.rescue(exc):
                raise
            return reasons.INTERNAL_ERROR
    except Unauthorized:
        logger.info("a client was rejected by %s", type(connection).__name__)
        announce(server.app, "rejected", connection=connection)
        return reasons.UNAUTHORIZED
    except HTTPException:
        raise
    except _FAILURES:
        logger.exception("%s.connect failed", type(connection).__name__)
        return reasons.INTERNAL_ERROR
    return None


@dataclass(frozen=True)
class Handshake:
    """What a connection may look at while it opens."""

    session: Any = session
    request: Any = request

    @property
    def cookies(self) -> Any:
        return request.cookies


def start(server: CableServer) -> None:
    """What a client needs; a worker process has begun it when it booted."""
    try:
        server.start()
    except PubSubError as exc:
        logger.error("a client was turned away: %s", exc)
        retry = {"Retry-After": "1"}
        flask.abort(plain(503, "The message broker does not answer.", **retry))
