"""From a WSGI request to a WebSocket, decided by the application.

The handler puts an :class:`Upgrade` into ``environ["gateway.upgrade"]`` (None when the
request is no upgrade) and calls the application as ever. Nothing is sent before it has
answered: a 401, 403 or 404 is plain HTTP. To say yes it calls :meth:`Upgrade.accept`
and answers ``101 Switching Protocols`` with the headers it got; its response is then
closed, so that request contexts end, and the connection is taken over. Request, environ
and handler are gone by the time the first message is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import gevent.ssl
from gevent.pywsgi import WSGIHandler
from geventwebsocket.handler import WebSocketHandler

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import handshake
from gateway.websocket.access import socket_class
from gateway.websocket.admission import Admission
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.handshake import Agreement, Request, client_address
from gateway.websocket.head import BoundedHeadHandler
from gateway.websocket.legacy import LegacyWebSocket
from gateway.websocket.socket import WebSocket
from gateway.websocket.transport import decrypted, take_over

__all__ = ["ENVIRON_KEY", "Upgrade", "UpgradeHandler"]

ENVIRON_KEY = "gateway.upgrade"

Opened = Callable[[WebSocket], object]


class Accepted(NamedTuple):
    """What an application said yes to."""

    endpoint: Endpoint
    opened: Opened
    agreement: Agreement
    request: Request
    admission: Admission


class Upgrade:
    """A valid request for a WebSocket, which the application may accept.

    >>> def application(environ, start_response):
    ...     upgrade = environ["gateway.upgrade"]
    ...     if upgrade is None:
    ...         start_response("404 Not Found", [])
    ...         return [b"WebSockets only"]
    ...     headers = upgrade.accept(endpoint, lambda ws: ws.send("welcome"))
    ...     start_response("101 Switching Protocols", headers)
    ...     return []
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self.subprotocols = handshake.offered(environ)
        """What the client offers, in its order."""
        self.accepted: Accepted | None = None
        self._environ = environ
        self._admission: Admission | None = None

    def reserve(self, endpoint: Endpoint, *, trusted_proxies: int = 0) -> None:
        """Take a place in ``endpoint`` before deciding, which may need a database.

        :meth:`accept` does it otherwise. It is given back when the request ends without
        a WebSocket.

        Raises:
            HandshakeRefused: ``endpoint`` is full.
        """
        if self._admission is None:
            address = client_address(self._environ, trusted_proxies)
            self._admission = endpoint.admit(address)

    def accept(
        self,
        endpoint: Endpoint,
        opened: Opened,
        *,
        subprotocols: Sequence[str] = (),
        compression: bool = True,
        trusted_proxies: int = 0,
    ) -> list[tuple[str, str]]:
        """Say yes; return the headers to answer 101 with.

        ``opened(ws)`` is called once the connection is a WebSocket of ``endpoint``. It
        must not wait: it parks the socket, or hands it to a greenlet. So many
        ``trusted_proxies`` are looked through for the client's address.

        Raises:
            HandshakeRefused: an offer cannot be read, or ``endpoint`` is full.
        """
        agreement = handshake.agree(
            self._environ, subprotocols=subprotocols, compression=compression
        )
        request = Request.from_environ(self._environ, trusted_proxies)
        self.reserve(endpoint, trusted_proxies=trusted_proxies)
        assert self._admission is not None
        self.accepted = Accepted(endpoint, opened, agreement, request, self._admission)
        return agreement.headers

    def release(self) -> None:
        """The request has ended: its place is free, if no socket has taken it."""
        if self._admission is not None:
            self._admission.release()


class UpgradeHandler(BoundedHeadHandler, WebSocketHandler):  # type: ignore[misc]  # has no types
    """In gevent-websocket's place, with a handshake and frames of our own.

    >>> from gevent.pywsgi import WSGIServer
    >>> server = WSGIServer(
    ...     ("127.0.0.1", 0), lambda e, s: [], handler_class=UpgradeHandler, log=None
    ... )
    """

    environ: Any
    response_headers: Any
    rfile: Any
    status: Any
    headers_sent: Any
    _upgrade: Upgrade | None = None
    _switching = False  # whether the application has answered 101

    def run_application(self) -> None:
        self._switching = False
        self.environ[ENVIRON_KEY] = None
        if not handshake.is_upgrade(self.environ):
            WSGIHandler.run_application(self)
            return
        try:
            handshake.check(self.environ)
            self._run_upgrade(Upgrade(self.environ), LegacyWebSocket(self))
        except HandshakeRefused as refused:
            self._refuse(refused)

    def _run_upgrade(self, upgrade: Upgrade, legacy: LegacyWebSocket) -> None:
        self._upgrade = self.environ[ENVIRON_KEY] = upgrade
        self.environ["wsgi.websocket"] = legacy
        self.environ["wsgi.websocket_version"] = "13"
        try:
            WSGIHandler.run_application(self)
            if self._switching and not legacy.opened:
                ws = self.switch()
                if isinstance(self.socket, gevent.ssl.SSLSocket):
                    ws.wait_closed()  # for the server closes it when we return
        finally:
            legacy.finish()
            upgrade.release()
            # They know the environ: left in it, all three would await the collector.
            del self.environ[ENVIRON_KEY], self.environ["wsgi.websocket"]
            self._upgrade = None

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,
    ) -> Callable[[bytes], None]:
        if self._switching and self.headers_sent:
            return lambda data: None  # an old program's answer, after its socket
        self._switching = False
        if status.startswith("101"):
            if self._upgrade is None or self._upgrade.accepted is None:
                raise LocalError(
                    "the application answered 101 without environ"
                    f'["{ENVIRON_KEY}"].accept(...)'
                )
            self._switching = True
            # What describes a body has no place in an answer that has none.
            headers = [
                (name, value)
                for name, value in headers
                if name.lower() not in ("content-type", "content-length")
            ]
        write: Callable[[bytes], None] = WSGIHandler.start_response(
            self, status, headers, exc_info
        )
        return write

    def process_result(self) -> None:
        if not self._switching:
            WSGIHandler.process_result(self)

    def log_request(self) -> None:
        if self.environ is not None:  # else there was no request to speak of
            super(WebSocketHandler, self).log_request()

    def switch(self) -> WebSocket:
        """Answer 101 and take the connection away from the WSGI server."""
        assert self._upgrade is not None
        assert self._upgrade.accepted is not None
        endpoint, opened, agreement, request, admission = self._upgrade.accepted
        self.close_connection = True  # for the WSGI server it ends here
        head = b"HTTP/1.1 %s\r\n" % self.status
        for name, value in self.response_headers:
            head += b"%s: %s\r\n" % (name, value)
        self.headers_sent = True
        leftover = self._buffered()
        self.rfile.close()
        ws = socket_class()(
            endpoint,
            take_over(self.socket, endpoint.limits.write_timeout_s),
            request=request,
            encoding=agreement.encoding,
            subprotocol=agreement.subprotocol,
            inflater=agreement.inflater,
            leftover=leftover,
            admission=admission,
        )
        ws.outbox.take(head + b"\r\n")  # in one packet with what is said first
        opened(ws)
        return ws

    def _refuse(self, refused: HandshakeRefused) -> None:
        self.close_connection = True
        status = f"{refused.status} {HTTPStatus(refused.status).phrase}"
        headers = [("Content-Type", "text/plain; charset=utf-8"), *refused.headers]
        headers.append(("Connection", "close"))
        self.start_response(status, headers)
        self.result: Iterable[bytes] = [f"{refused.explanation}\n".encode()]
        self.process_result()

    def _buffered(self) -> bytes:
        """Bytes that came on the heels of the request."""
        self.socket.settimeout(0.0)
        try:
            return bytes(self.rfile.peek(1)) + decrypted(self.socket)
        except OSError:
            return b""
