"""Clients of the whole app: in this process, or over a port of its own."""

from __future__ import annotations

import _socket
import socket as stdlib_socket
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from gevent.pywsgi import WSGIServer

from gateway import reasons, websocket
from gateway.consumer import Consumer
from gateway.errors import HandshakeRefused
from gateway.server import CableServer
from gateway.websocket import Endpoint, UpgradeHandler, WebSocket
from gateway.websocket.frames import MASKED
from gateway.websocket.upgrade import ENVIRON_KEY, Upgrade

__all__ = ["LiveGateway", "cable_client"]

_UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "actioncable-v1-json, actioncable-unsupported",
}


def cable_client(
    client: FlaskClient, path: str | None = None, **options: Any
) -> Consumer:
    """A consumer that connects through Flask's test client: same cookies, same session.

    The handshake runs in this process, then both sides talk over a pair of sockets.
    Options are those of :class:`gateway.Consumer`.

    Raises:
        HandshakeRefused: the app answered with plain HTTP.
        Disconnected: the connection was rejected.
    """
    path = path or client.application.extensions["gateway"].settings.path
    consumer = _TestConsumer(client, path, options)
    try:
        return consumer.wait_connected()
    except BaseException:
        consumer.close()
        raise


class LiveGateway:
    """An app served on a port of its own.

    >>> from flask import Flask
    >>> from gateway import Gateway
    >>> app = Flask("shop")
    >>> gateway = Gateway(app)
    >>> with LiveGateway(app) as live:
    ...     with live.consumer() as consumer:
    ...         consumer.wait_connected().connected
    True
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._server = WSGIServer(
            ("127.0.0.1", 0), app, log=None, handler_class=UpgradeHandler
        )
        self._server.start()
        self.port: int = self._server.server_port or 0

    @property
    def url(self) -> str:
        """``http://…``, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def cable(self) -> CableServer:
        """The app's gateway at work."""
        server: CableServer = self.app.extensions["gateway"]
        return server

    def connect(self, path: str | None = None, **options: Any) -> WebSocket:
        """A bare WebSocket; options as for :func:`gateway.websocket.connect`."""
        ws: WebSocket = websocket.connect(self._address(path), **options)
        return ws

    def consumer(self, path: str | None = None, **options: Any) -> Consumer:
        """A cable client; options as for :class:`gateway.Consumer`."""
        return Consumer(self._address(path), **options)

    def _address(self, path: str | None) -> str:
        return f"ws://127.0.0.1:{self.port}{path or self.cable.settings.path}"

    def cookie(self, session: Mapping[str, Any]) -> dict[str, str]:
        """The header of a browser that has this Flask session."""
        interface: Any = self.app.session_interface
        value = interface.get_signing_serializer(self.app).dumps(dict(session))
        return {"Cookie": f"{self.app.config['SESSION_COOKIE_NAME']}={value}"}

    def stop(self) -> None:
        """Stop serving, and close all sockets. The app may be served again."""
        self._server.stop(timeout=1)
        for events in list(self.cable.event_streams):
            events.close(reasons.SERVER_RESTART)
        self.cable.endpoint.close_all()
        if not self.cable.endpoint.wait_closed(timeout=1):
            for ws in list(self.cable.endpoint.sockets):
                ws.abort()

    def __enter__(self) -> LiveGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _TestConsumer(Consumer):
    """Shakes hands through Flask's test client instead of over the network."""

    def __init__(self, client: FlaskClient, path: str, options: dict[str, Any]) -> None:
        self._client = client
        self._path = path
        super().__init__("", **options)

    def _open(self) -> WebSocket:
        headers = {**_UPGRADE, **self._request_headers()}
        environ = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in headers.items()
        }
        upgrade = Upgrade(environ)
        response = self._client.get(
            self._path, headers=headers, environ_overrides={ENVIRON_KEY: upgrade}
        )
        response.close()
        if response.status_code != 101 or upgrade.accepted is None:
            upgrade.release()
            raise HandshakeRefused(response.status_code, response.text.strip())
        near, far = stdlib_socket.socketpair()
        accepted = upgrade.accepted
        theirs = WebSocket(
            accepted.endpoint,
            _raw(near),
            request=accepted.request,
            encoding=accepted.agreement.encoding,
            subprotocol=accepted.agreement.subprotocol,
            inflater=accepted.agreement.inflater,
            admission=accepted.admission,
        )
        accepted.opened(theirs)
        return WebSocket(
            Endpoint(ping_interval_s=None),
            _raw(far),
            request=accepted.request,
            encoding=MASKED,
            subprotocol=accepted.agreement.subprotocol,
        )


def _raw(sock: stdlib_socket.socket) -> _socket.socket:
    raw = _socket.socket(stdlib_socket.AF_UNIX, fileno=sock.detach())
    raw.setblocking(False)
    return raw
