"""The cable as Server-Sent Events, for who cannot upgrade."""

from __future__ import annotations

import flask
from flask import Response, request
from flask.typing import ResponseReturnValue

from gateway import events as event_streams
from gateway import reasons
from gateway.cable.connection import Connection
from gateway.errors import CommandError, HandshakeRefused
from gateway.events import Asked, EventStream
from gateway.server import CableServer
from gateway.views.answers import (
    STOPPING,
    check_origin,
    current_server,
    foreign,
    plain,
    refused,
)
from gateway.views.connecting import MakeConnection, connect, start
from gateway.websocket.handshake import client_address

__all__ = ["events"]


def events(make: MakeConnection) -> ResponseReturnValue:
    """The cable as Server-Sent Events, read only; it connects as ``make`` says."""
    server = current_server()
    check_origin(server, foreign)
    if request.method == "OPTIONS":
        return _readable(Response(status=204))
    start(server)
    if server.draining:
        flask.abort(plain(503, STOPPING, **{"Retry-After": "1"}))
    address = client_address(request.environ, server.settings.trusted_proxies)
    try:
        place = server.endpoint.admit(address)
    except HandshakeRefused as why:
        return _readable(refused(why))
    try:
        response = _tell(server, make())
    except BaseException:
        place.release()
        raise
    response.call_on_close(place.release)
    return _readable(response)


def _tell(server: CableServer, connection: Connection) -> Response:
    refusal = connect(server, connection)
    if refusal is not None:
        status = 401 if refusal is reasons.UNAUTHORIZED else 500
        return plain(status, refusal.text)
    try:
        stream = EventStream(server, connection, _asked())
    except CommandError as exc:
        return plain(400, str(exc))
    response = Response(iter(stream), headers=event_streams.HEADERS)
    response.call_on_close(stream.end)  # even if it is never iterated
    try:
        stream.subscribe()
    except HandshakeRefused as why:
        response.close()
        return refused(why)
    return response


def _asked() -> Asked:
    """The subscriptions that a request for events asks for."""
    last_event_id = request.headers.get("Last-Event-ID", "")
    if request.method != "POST":
        return event_streams.in_query(request.args, last_event_id)
    request.max_content_length = event_streams.MAX_BODY_BYTES
    return event_streams.in_body(request.get_data(), request.args, last_event_id)


def _readable(response: Response) -> Response:
    """The same for the page that asked, which may be of another host."""
    if origin := request.headers.get("Origin"):
        response.access_control_allow_origin = origin
        response.access_control_allow_credentials = True
        response.vary.add("Origin")
        if request.method == "OPTIONS":
            wanted = request.headers.get("Access-Control-Request-Headers", "")
            response.headers["Access-Control-Allow-Headers"] = wanted
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
    return response
