"""What HTTP requests are answered: upgrades, event streams, pages for machines.

Each view finds the server of the current app. Nothing is sent before it has decided:
who may not come gets plain HTTP, who may gets ``101 Switching Protocols``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flask
from flask import Flask, Response, request, session
from flask.typing import ResponseReturnValue
from gevent import Timeout
from werkzeug.exceptions import HTTPException

from gateway import events as event_streams
from gateway import metrics as prometheus
from gateway import posting, reasons
from gateway.cable import messages
from gateway.cable import presence as who
from gateway.cable.connection import Connection, Unauthorized
from gateway.config import Settings
from gateway.errors import CommandError, HandshakeRefused, LocalError, PubSubError
from gateway.events import Asked, EventStream
from gateway.reasons import CloseReason
from gateway.server import CableServer
from gateway.signals import announce
from gateway.websocket.handshake import client_address
from gateway.websocket.server import run_handler
from gateway.websocket.socket import WebSocket
from gateway.websocket.upgrade import ENVIRON_KEY, Upgrade

__all__ = [
    "Handshake",
    "add_routes",
    "add_socket_rule",
    "bare_socket",
    "current_server",
]

logger = logging.getLogger("gateway")

_HOW_TO_SERVE = """\
This address speaks WebSocket, but the server that runs this app cannot upgrade to it.
Serve the app with `gateway serve`, `flask gateway serve`, or
`gunicorn -k gateway.worker.GatewayWorker`."""

_SOCKETS_ONLY = "This address speaks WebSocket only."
_STOPPING = "This server is shutting down."

_FAILURES = (Exception, Timeout)

MakeConnection = Callable[[], Connection]
Answer = Callable[[], Response]


def current_server() -> CableServer:
    """The gateway of the current app."""
    server: CableServer | None = flask.current_app.extensions.get("gateway")
    if server is None:
        raise LocalError("the current app has no gateway: call gateway.init_app(app)")
    return server


def add_routes(app: Flask, settings: Settings, make: MakeConnection) -> None:
    """Let the app answer at the cable's addresses; clients connect as ``make`` says."""
    path, health_path = settings.path, settings.health_path
    add_socket_rule(app, path, "gateway.cable", partial(cable, make))
    app.add_url_rule(
        f"{path}/events",
        "gateway.events",
        partial(events, make),
        methods=["GET", "POST", "OPTIONS"],
    )
    app.add_url_rule(
        f"{path}/broadcast", "gateway.broadcast", broadcast, methods=["POST"]
    )
    app.add_url_rule(f"{path}/presence/<path:stream>", "gateway.presence", presence)
    app.add_url_rule(health_path, "gateway.health", health)
    app.add_url_rule(f"{health_path}/live", "gateway.live", lambda: {"live": True})
    if settings.metrics_path is not None:
        app.add_url_rule(settings.metrics_path, "gateway.metrics", metrics)


def add_socket_rule(
    app: Flask, rule: str, endpoint: str, view: Callable[..., Any], **options: Any
) -> None:
    """Werkzeug keeps routes for upgrades apart; a browser's plain GET needs one too."""
    options.pop("endpoint", None)
    app.add_url_rule(rule, endpoint, view, websocket=True, **options)
    app.add_url_rule(rule, f"{endpoint}.page", view, **options)


# The cable.


def cable(make: MakeConnection) -> ResponseReturnValue:
    """A client asks for an upgrade; it connects as what ``make`` makes."""
    server = current_server()
    not_found = partial(_plain, 404, "Page not found")
    upgrade = _upgrade(server, page=not_found, foreign=not_found)
    _start(server)
    connection = make()
    refusal = _connect(server, connection)
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
    return _switch(
        upgrade,
        server,
        opened,
        subprotocols=messages.PROTOCOLS,
        compression=server.settings.compression,
    )


def _connect(server: CableServer, connection: Connection) -> CloseReason | None:
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


def _speaks_extended(upgrade: Upgrade) -> bool:
    known = (p for p in upgrade.subprotocols if p in messages.PROTOCOLS)
    return next(known, None) == messages.EXTENDED


def _sid() -> str:
    """The name of the session that the client wants to take up."""
    sid = request.args.get("sid") or request.headers.get("X-Anycable-Restore-Sid")
    return sid or ""


def _start(server: CableServer) -> None:
    """What a client needs; a worker process has begun it when it booted."""
    try:
        server.start()
    except PubSubError as exc:
        logger.error("a client was turned away: %s", exc)
        retry = {"Retry-After": "1"}
        flask.abort(_plain(503, "The message broker does not answer.", **retry))


# Event streams.


def events(make: MakeConnection) -> ResponseReturnValue:
    """The cable as Server-Sent Events, read only; it connects as ``make`` says."""
    server = current_server()
    _check_origin(server, _foreign)
    if request.method == "OPTIONS":
        return _readable(Response(status=204))
    _start(server)
    if server.draining:
        flask.abort(_plain(503, _STOPPING, **{"Retry-After": "1"}))
    address = client_address(request.environ, server.settings.trusted_proxies)
    try:
        place = server.endpoint.admit(address)
    except HandshakeRefused as refused:
        return _readable(_refused(refused))
    try:
        response = _tell(server, make())
    except BaseException:
        place.release()
        raise
    response.call_on_close(place.release)
    return _readable(response)


def _tell(server: CableServer, connection: Connection) -> Response:
    refusal = _connect(server, connection)
    if refusal is not None:
        status = 401 if refusal is reasons.UNAUTHORIZED else 500
        return _plain(status, refusal.text)
    try:
        stream = EventStream(server, connection, _asked())
    except CommandError as exc:
        return _plain(400, str(exc))
    response = Response(iter(stream), headers=event_streams.HEADERS)
    response.call_on_close(stream.end)  # even if it is never iterated
    try:
        stream.subscribe()
    except HandshakeRefused as refused:
        response.close()
        return _refused(refused)
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


# Bare sockets.


def bare_socket(
    handler: Callable[..., object],
    authorize: Callable[..., Any] | None,
    terms: dict[str, Any],
    **view_args: Any,
) -> Response:
    """A bare WebSocket, for ``handler``; see :meth:`Gateway.websocket`."""
    server = current_server()
    upgrade = _upgrade(
        server,
        page=partial(_plain, 426, _SOCKETS_ONLY, Upgrade="websocket"),
        foreign=_foreign,
    )
    known: tuple[Any, ...] = ()
    if authorize is not None:
        guest = authorize(**view_args)
        if guest is False:
            return _plain(403, "You may not open this socket.")
        known = (guest,)

    def serve(ws: WebSocket) -> object:
        return handler(ws, *known, **view_args)

    def run(ws: WebSocket) -> None:
        with server.context():
            run_handler(ws, serve)

    return _switch(
        upgrade, server, lambda ws: server.endpoint.workers.spawn(run, ws), **terms
    )


# Upgrading.


def _upgrade(server: CableServer, *, page: Answer, foreign: Answer) -> Upgrade:
    """The request's upgrade, or an abort with plain HTTP.

    ``page`` answers a request for a page, ``foreign`` one from a page that may not
    connect.
    """
    if ENVIRON_KEY not in request.environ:
        flask.abort(_plain(426, _HOW_TO_SERVE, Upgrade="websocket"))
    upgrade: Upgrade | None = request.environ[ENVIRON_KEY]
    if upgrade is None:
        flask.abort(page())
    if server.draining:
        flask.abort(_plain(503, _STOPPING, **{"Retry-After": "1"}))
    _check_origin(server, foreign)
    try:  # before anybody is asked who they are
        upgrade.reserve(
            server.endpoint, trusted_proxies=server.settings.trusted_proxies
        )
    except HandshakeRefused as refused:
        flask.abort(_refused(refused))
    return upgrade


def _check_origin(server: CableServer, foreign: Answer) -> None:
    """Abort with ``foreign`` if the request comes from a page that may not connect."""
    origin = request.environ.get("HTTP_ORIGIN")
    if not server.origins.allow(origin, host=request.host):
        logger.warning(
            "a page of origin %r may not connect to %s: if it should, add it to "
            "allowed_origins; if it is this app's own, a proxy in front changes Host "
            "(see werkzeug's ProxyFix)",
            origin,
            request.host,
        )
        flask.abort(foreign())


def _switch(
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
    except HandshakeRefused as refused:
        return _refused(refused)
    return _Switch(status=101, headers=headers)


def _refused(refused: HandshakeRefused) -> Response:
    return _plain(refused.status, refused.explanation, **dict(refused.headers))


class _Switch(Response):
    """An answer without a body, which need not be completed: it is whole."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(self.status, self.headers.to_wsgi_list())
        return ()


# Pages for machines.


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
        flask.abort(_plain(404, "There is no broadcast_key, so nobody may ask here."))
    if not posting.has_key(request.headers.get("Authorization", ""), key):
        flask.abort(_plain(401, "Send the broadcast_key: Authorization: Bearer ..."))


def presence(stream: str) -> ResponseReturnValue:
    """Who is present on a stream, for other programs with the key."""
    server = current_server()
    _check_key(server)
    try:
        members = server.pubsub.present(stream)
    except PubSubError as exc:
        return _plain(503, str(exc))
    return Response(who.info(members), content_type="application/json")


def broadcast() -> ResponseReturnValue:
    """What other programs post, with the key (docs/protocol.md, "Publishing")."""
    server = current_server()
    _check_key(server)
    try:
        posts = posting.read(request.get_data(cache=False))
    except ValueError as exc:
        return _plain(422, str(exc))
    try:
        for stream, publication in posts:
            server.pubsub.publish(stream, publication)
    except PubSubError as exc:
        return _plain(503, str(exc))
    return _plain(201, "")


def _foreign() -> Response:
    return _plain(403, "Pages of this origin may not connect.")


def _plain(status: int, text: str, **headers: str) -> Response:
    return Response(f"{text}\n", status, headers, content_type="text/plain")
