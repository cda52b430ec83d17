"""A WebSocket server of its own, without Flask."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

import gevent
import gevent.socket
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from gevent.queue import Queue

from gateway import reasons
from gateway.errors import LocalError
from gateway.reasons import CloseReason
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.handshake import check_subprotocols
from gateway.websocket.limits import Limits
from gateway.websocket.listening import BACKLOG, Address, open_listener, unix_path
from gateway.websocket.lobby import Lobby
from gateway.websocket.origins import Origins
from gateway.websocket.socket import ENDS, WebSocket
from gateway.websocket.transport import start_tls
from gateway.websocket.upgrade import ENVIRON_KEY, UpgradeHandler

__all__ = ["WebSocketServer", "run_handler"]

logger = logging.getLogger("gateway.websocket")

_NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class WebSocketServer:
    """Serves WebSockets on an address, in one of three styles.

    A *handler* gets a greenlet per connection; *iteration* hands the accepted sockets
    to your own loop; *callbacks* cost least, since then an idle socket has no greenlet.

    >>> from gateway.websocket import connect
    >>> def echo(ws):
    ...     for message in ws:
    ...         ws.send(message)
    >>> with WebSocketServer(("127.0.0.1", 0), echo) as server:
    ...     with connect(server.url) as ws:
    ...         ws.send("hello")
    ...         ws.receive()
    'hello'

    ``address`` is ``(host, port)`` (port 0 picks one), ``"unix:/path"``, or a listening
    socket, which is the server's from then on. Callbacks are ``on_open(ws)``,
    ``on_message(ws, message)``, ``on_close(ws)`` and ``on_error(ws, exception)``;
    without ``on_error`` an exception is logged and the socket closed with 1011.
    ``subprotocols`` are those you speak; ``origins`` are the pages that may connect
    besides the server's own (None: any). ``ssl_context`` makes it ``wss://``. So many
    ``trusted_proxies`` stand in front and tell the client's address in
    ``X-Forwarded-For``. A ping that is not answered ``ping_timeout_s`` later (20, or
    the interval if that is shorter) ends a socket.

    Raises:
        LocalError: what is given cannot be used, or not together.
        OSError: nobody may listen there.
    """

    def __init__(
        self,
        address: Address,
        handler: Callable[[WebSocket], object] | None = None,
        *,
        on_open: Callable[[WebSocket], object] | None = None,
        on_message: Callable[[WebSocket, str | bytes], object] | None = None,
        on_close: Callable[[WebSocket], object] | None = None,
        on_error: Callable[[WebSocket, Exception], object] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        subprotocols: Sequence[str] = (),
        origins: Iterable[str] | None = None,
        compression: bool = True,
        limits: Limits | None = None,
        ping_interval_s: float | None = 25.0,
        ping_timeout_s: float | None = None,
        trusted_proxies: int = 0,
    ) -> None:
        self.handler = handler
        self.on_open = on_open
        self.on_message = on_message
        self.on_close = on_close
        self.on_error = on_error
        if handler is not None and self._has_callbacks:
            raise LocalError("give a handler or callbacks, not both")
        check_subprotocols(subprotocols)
        self.endpoint = Endpoint(
            limits, ping_interval_s=ping_interval_s, ping_timeout_s=ping_timeout_s
        )
        self._trusted_proxies = trusted_proxies
        self._subprotocols = subprotocols
        self._origins = None if origins is None else Origins(origins)
        self._compression = compression
        self._is_tls = ssl_context is not None
        # Sockets for whoever iterates, now or later; None stands behind the last.
        self._accepted: Queue[WebSocket | None] = Queue()
        self._stopping = False
        self._stopped = Event()
        self._unix_path = unix_path(address)
        self._server = _Server(
            self.endpoint, ssl_context, open_listener(address), self._application
        )

    @property
    def _has_callbacks(self) -> bool:
        return bool(self.on_open or self.on_message or self.on_close)

    @property
    def _is_iterated(self) -> bool:
        return self.handler is None and not self._has_callbacks

    @property
    def url(self) -> str:
        """Where a client finds it: ``ws://…``, ``wss://…`` or ``ws+unix:///path``."""
        if self._unix_path is not None:
            return f"ws+unix://{quote(os.path.abspath(self._unix_path))}"
        scheme = "wss" if self._is_tls else "ws"
        host, port = str(self._server.server_host), self._server.server_port
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def sockets(self) -> set[WebSocket]:
        """The sockets that are open."""
        return self.endpoint.sockets

    def start(self) -> None:
        """Listen, and serve in the background.

        Raises:
            LocalError: it was stopped before.
            OSError: nobody may listen there.
        """
        if self._stopping:
            raise LocalError("a server that was stopped does not start: make a new one")
        if not self._server.started:
            self._server.start()

    def serve_forever(self) -> None:
        """Listen and serve until another greenlet calls :meth:`stop`.

        Whatever interrupts it, Ctrl-C say, stops the server.
        """
        if self._is_iterated:
            raise LocalError(
                "this server has neither handler nor callbacks: iterate over it"
            )
        self.start()
        try:
            self._stopped.wait()
        finally:
            self.stop()

    def stop(self, timeout: float | None = 5.0) -> None:
        """Stop listening, close all sockets with 1001, wait, then drop what is left.

        ``timeout`` is in seconds for all of it, None for as long as it takes. Who calls
        it again waits for the first to be done. A handler or a callback may call it: it
        is not waited for, but its socket is closed.
        """
        if self._stopping:
            self._stopped.wait(timeout)
            return
        self._stopping = True
        deadline = None if timeout is None else monotonic() + timeout
        try:
            self._server.close()
            if self._unix_path is not None:
                Path(self._unix_path).unlink(missing_ok=True)
            self.endpoint.close_all(reasons.SERVER_RESTART)
            self.endpoint.wait_closed(timeout)
        finally:
            self._server.lobby.close()
            left = None if deadline is None else max(0.0, deadline - monotonic())
            self.endpoint.stop(left)
            self._accepted.put(None)
            self._stopped.set()

    def __enter__(self) -> WebSocketServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[WebSocket]:
        """Accepted sockets, one after the other, until the server is stopped."""
        if not self._is_iterated:
            raise LocalError("this server gives its sockets to a handler or callbacks")
        if not self._stopping:
            self.start()
        while (ws := self._accepted.get()) is not None:
            yield ws
        self._accepted.put(None)  # for the next who iterates

    def _application(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        upgrade = environ[ENVIRON_KEY]
        plain = [("Content-Type", "text/plain")]
        if self._stopping:
            closing = [("Retry-After", "1"), ("Connection", "close"), *plain]
            start_response("503 Service Unavailable", closing)
            return [b"This server is stopping.\n"]
        if upgrade is None:
            start_response("426 Upgrade Required", [("Upgrade", "websocket"), *plain])
            return [b"This server speaks WebSocket only.\n"]
        origin, host = environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", "")
        if self._origins is not None and not self._origins.allow(origin, host=host):
            start_response("403 Forbidden", plain)
            return [b"This origin may not connect.\n"]
        headers = upgrade.accept(
            self.endpoint,
            self._opened,
            subprotocols=self._subprotocols,
            compression=self._compression,
            trusted_proxies=self._trusted_proxies,
        )
        start_response("101 Switching Protocols", headers)
        return []

    def _opened(self, ws: WebSocket) -> None:
        self._server.lobby.leave()
        if self.handler is not None:
            self.endpoint.workers.spawn(run_handler, ws, self.handler, self.on_error)
        elif self._is_iterated:
            self._accepted.put(ws)
        else:
            listener = _Callbacks(self, ws)
            if self.on_open is None:
                ws.listen(listener)
            else:
                self.endpoint.workers.run(self._open_and_listen, ws, listener)

    def _open_and_listen(self, ws: WebSocket, listener: _Callbacks) -> None:
        try:
            listener.call(self.on_open, ws)
        except ENDS as exc:
            ws.fail(exc)
        ws.listen(listener)


class _Server(WSGIServer):
    """gevent's, with our limits, and with TLS by any context, not just gevent's own."""

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        address: tuple[str, int] | gevent.socket.socket,
        application: Callable[..., Iterable[bytes]],
    ) -> None:
        self.limits = endpoint.limits
        self.lobby = Lobby(endpoint.limits, endpoint.sockets, endpoint.refused)
        self._context = context
        super().__init__(
            address,
            application,
            backlog=BACKLOG if isinstance(address, tuple) else None,
            log=None,
            error_log=logger,
            handler_class=UpgradeHandler,
        )
        if context is not None:
            self.environ["wsgi.url_scheme"] = "https"

    def handle(self, sock: gevent.socket.socket, address: Any) -> None:
        if not self.lobby.enter(str(address[0]) if address else ""):
            sock.sendall(_NO_ROOM if self._context is None else b"")
            return
        try:
            if self._context is None:
                UpgradeHandler(sock, address, self).handle()
            else:
                self._handle_tls(sock, address, self._context)
        finally:
            self.lobby.leave()

    def _handle_tls(
        self, sock: gevent.socket.socket, address: Any, context: ssl.SSLContext
    ) -> None:
        began = monotonic()
        try:
            with gevent.Timeout(self.limits.head_timeout_s, TimeoutError("too slow")):
                tls = start_tls(sock, context, server_side=True)
        except OSError as exc:
            logger.info("no TLS with %s: %s", address, exc)
            return
        with tls:
            handler = UpgradeHandler(tls, address, self)
            handler.spent_s = monotonic() - began
            handler.handle()


class _Callbacks:
    """The listener behind a server's callbacks."""

    __slots__ = ("_server", "_ws")

    def __init__(self, server: WebSocketServer, ws: WebSocket) -> None:
        self._server = server
        self._ws = ws

    def call(self, callback: Callable[..., object] | None, *args: object) -> None:
        if callback is None:
            return
        try:
            callback(*args)
        except Exception as exc:
            if self._server.on_error is None or self._ws.explains(exc):
                raise
            self._server.on_error(self._ws, exc)

    def received(self, message: str | bytes) -> None:
        self.call(self._server.on_message, self._ws, message)

    def closed(self, ws: WebSocket) -> None:
        self.call(self._server.on_close, ws)

    def farewell(self, reason: CloseReason) -> str | None:
        return None


def run_handler(
    ws: WebSocket,
    handler: Callable[[WebSocket], object],
    on_error: Callable[[WebSocket, Exception], object] | None = None,
) -> None:
    """Run ``handler(ws)`` and close ``ws`` behind it: 1000, or 1011 if it failed."""
    try:
        try:
            handler(ws)
        except Exception as exc:
            if on_error is None or ws.explains(exc):
                raise
            on_error(ws, exc)
            ws.start_close(reasons.INTERNAL_ERROR)
    except ENDS as exc:
        ws.fail(exc)
    ws.start_close(reasons.NORMAL)
