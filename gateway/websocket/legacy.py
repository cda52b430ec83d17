"""Programs written for gevent-websocket keep working (docs/migration.md).

They find an open socket in ``environ["wsgi.websocket"]`` and use it until they return.
Here the socket opens when it is first used, so that a program that never touches it can
still answer with plain HTTP. gevent-websocket's own ``Resource`` and
``WebSocketApplication`` run on it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub
from gevent.hub import Hub
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import Client
from geventwebsocket.websocket import MSG_ALREADY_CLOSED, MSG_SOCKET_DEAD

from gateway.errors import ConnectionClosed
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.socket import WebSocket

if TYPE_CHECKING:
    from gateway.websocket.upgrade import UpgradeHandler

__all__ = ["LegacyWebSocket", "hide_upgrade"]

Application = Callable[..., Iterable[bytes]]

_endpoints: WeakKeyDictionary[Hub, Endpoint] = WeakKeyDictionary()


class LegacyWebSocket:
    """What gevent-websocket's ``WebSocket`` was to an application.

    >>> def application(environ, start_response):
    ...     ws = environ["wsgi.websocket"]
    ...     while (message := ws.receive()) is not None:
    ...         ws.send(message)
    ...     return []
    """

    def __init__(self, handler: UpgradeHandler) -> None:
        self.handler = handler
        self.environ: dict[str, Any] = handler.environ
        self.path: str = self.environ.get("PATH_INFO", "")
        self.origin: str | None = self.environ.get("HTTP_ORIGIN")
        self.version: str | None = self.environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        self.opened = False
        self._ws: WebSocket | None = None
        self._over = False  # whether the program has closed it, or received the end

    @property
    def closed(self) -> bool:
        """Whether there is nothing more to receive; opens it if it is not open yet."""
        ws = self._socket()
        return self._over or (ws.close_reason is not None and not ws.waiting)

    @property
    def protocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._socket().subprotocol

    def receive(self) -> str | bytes | None:
        """The next message, or once None when the connection is closed.

        Raises:
            WebSocketError: that was said already, or the program has closed it.
        """
        if self._over:
            raise WebSocketError(MSG_ALREADY_CLOSED)
        try:
            return self._socket().receive()
        except ConnectionClosed:
            self._over = True
            return None

    def send(self, message: str | bytes, binary: bool | None = None) -> None:
        """Send ``message`` as text, or as binary if it is bytes (``binary`` overrides).

        Raises:
            WebSocketError: the connection is closed.
        """
        if self.closed:
            raise WebSocketError(MSG_SOCKET_DEAD)  # whatever the message, None too
        if binary is None:
            binary = not isinstance(message, str)
        if binary and isinstance(message, str):
            message = message.encode()
        if not binary and not isinstance(message, str):
            message = bytes(message).decode()
        try:
            self._socket().send(message)
        except ConnectionClosed as exc:
            raise WebSocketError(MSG_SOCKET_DEAD) from exc

    def close(self, code: int = 1000, message: str | bytes | None = b"") -> None:
        """Close with a code and a reason."""
        reason = message if isinstance(message, str) else (message or b"").decode()
        self._socket().close(code, reason)
        self._over = True

    def _socket(self) -> WebSocket:
        if self._ws is None:
            self._open()
            assert self._ws is not None
        return self._ws

    def _open(self) -> None:
        """Upgrade the connection, in the middle of the application's call."""
        self.opened = True
        handler = self.handler
        choose = getattr(handler.application, "app_protocol", None)
        subprotocol = choose(self.path) if choose is not None else None
        upgrade = self.environ["gateway.upgrade"]
        headers = upgrade.accept(
            _endpoint(),
            self._attach,
            subprotocols=[subprotocol] if subprotocol else [],
        )
        handler.start_response("101 Switching Protocols", headers)
        handler.switch()

    def _attach(self, ws: WebSocket) -> None:
        self._ws = ws
        handler = self.handler
        if not handler.client_address:  # peers of a unix socket have none
            handler.client_address = f"unix:{id(self)}"
        self._clients()[handler.client_address] = Client(handler.client_address, self)

    def _clients(self) -> dict[Any, Client]:
        """Where old programs look for others to send to."""
        clients: dict[Any, Client] = vars(self.handler.server).setdefault("clients", {})
        return clients

    def finish(self) -> None:
        """The application has returned, or failed."""
        if self._ws is not None:
            self._clients().pop(self.handler.client_address, None)
            self._ws.close()


def hide_upgrade(application: Application) -> Application:
    """Let ordinary Flask routes match upgrade requests, as they did before Werkzeug 2.

    Wrap it around the app: ``app.wsgi_app = hide_upgrade(app.wsgi_app)``. Routes with
    ``websocket=True`` do not match any longer then.
    """

    def hidden(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("HTTP_UPGRADE", None)
        return application(environ, start_response)

    return hidden


def _endpoint() -> Endpoint:
    """What the old sockets of one thread share."""
    hub = get_hub()
    if hub not in _endpoints:
        _endpoints[hub] = Endpoint()
    return _endpoints[hub]
