"""Pages for machines: balancers, Prometheus, and programs that have the key."""

from __future__ import annotations

import flask
from flask import Response, request
from flask.typing import ResponseReturnValue

from gateway import metrics as prometheus
from gateway import posting
from gateway.cable import presence as who
from gateway.errors import PubSubError
from gateway.server import CableServer
from gateway.views.answers import current_server, plain

__all__ = ["broadcast", "health", "metrics", "presence"]


def health() -> ResponseReturnValue:
    """Whether this process takes new sockets; ``…/live`` just says that it lives."""
    server = current_server()
    try:
        server.start()
        broker = server.pubsub.health().up
    except PubSubError:
        broker = False
    status = "draining" if server.draining else "ok" if broker else "no broker"
    body = {
        "status": status,
        "live": True,
        "ready": status == "ok",
        "adapter": server.settings.adapter,
        "sockets": server.statistics().sockets,
    }
    return body, 200 if status == "ok" else 503


def metrics() -> ResponseReturnValue:
    server = current_server()
    server.meter.copy()
    return prometheus.exposition(), {"Content-Type": prometheus.CONTENT_TYPE}


def _check_key(server: CableServer) -> None:
    """Only who has the key may go on."""
    key = server.settings.broadcast_key
    if key is None:
        flask.abort(plain(404, "There is no broadcast_key, so nobody may ask here."))
    if not posting.has_key(request.headers.get("Authorization", ""), key):
        flask.abort(plain(401, "Send the broadcast_key: Authorization: Bearer ..."))


def presence(stream: str) -> ResponseReturnValue:
    """Who is present on a stream, for other programs with the key."""
    server = current_server()
    _check_key(server)
    try:
        members = server.pubsub.present(stream)
    except PubSubError as exc:
        return plain(503, str(exc))
    return Response(who.info(members), content_type="application/json")


def broadcast() -> ResponseReturnValue:
    """What other programs post, with the key (docs/protocol.md, "Publishing")."""
    server = current_server()
    _check_key(server)
    try:
        posts = posting.read(request.get_data(cache=False))
    except ValueError as exc:
        return plain(422, str(exc))
    try:
        for stream, publication in posts:
            server.pubsub.publish(stream, publication)
    except PubSubError as exc:
        return plain(503, str(exc))
    return plain(201, "")
