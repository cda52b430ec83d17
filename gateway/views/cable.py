"""The cable: a client asks for an upgrade, and speaks Action Cable."""

from __future__ import annotations

from functools import partial

from flask import request
from flask.typing import ResponseReturnValue

from gateway.cable import messages
from gateway.views.answers import current_server, plain
from gateway.views.connecting import MakeConnection, connect, start
from gateway.views.upgrading import requested_upgrade, switch
from gateway.websocket.upgrade import Upgrade

__all__ = ["cable"]


def cable(make: MakeConnection) -> ResponseReturnValue:
    """A client asks for an upgrade; it connects as what ``make`` makes."""
    server = current_server()
    not_found = partial(plain, 404, "Page not found")
    upgrade = requested_upgrade(server, page=not_found, foreign=not_found)
    start(server)
    connection = make()
    refusal = connect(server, connection)
    restore = None
    if refusal is None and _speaks_extended(upgrade):
        restore = server.saved(_sid(), connection, request.headers.get("Origin", ""))
    opened = partial(
        server.opened,
        connection=connection,
        refusal=refusal,
        confirm_repeats=messages.UNSUPPORTED in upgrade.subprotocols,
        restore=restore,
    )
    return switch(
        upgrade,
        server,
        opened,
        subprotocols=messages.PROTOCOLS,
        compression=server.settings.compression,
    )


def _speaks_extended(upgrade: Upgrade) -> bool:
    known = (p for p in upgrade.subprotocols if p in messages.PROTOCOLS)
    return next(known, None) == messages.EXTENDED


def _sid() -> str:
    """The name of the session that the client wants to take up."""
    sid = request.args.get("sid") or request.headers.get("X-Anycable-Restore-Sid")
    return sid or ""
