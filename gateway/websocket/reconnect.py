"""A WebSocket that comes back: the first retry at once, then ever more slowly."""

from __future__ import annotations

import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import gevent
import msgspec
from gevent import getcurrent
from gevent.event import Event

from gateway.errors import (
    Close,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeRefused,
    LocalError,
)
from gateway.reasons import INTERNAL_ERROR, CloseReason
from gateway.websocket import frames
from gateway.websocket.handshake import Request
from gateway.websocket.limits import check_seconds
from gateway.websocket.link import OK_CODES
from gateway.websocket.socket import FAILURES, WebSocket

__all__ = ["Backoff", "ReconnectingWebSocket", "is_final"]

logger = logging.getLogger("gateway.websocket")

_CALLBACK_S = 5.0
"""How long :meth:`ReconnectingWebSocket.close` waits for a callback to return."""

_TRY_LATER = (408, 425, 429)
"""Refusals that are about this moment, not about us (our own server's are 408, 429)."""

Callback = Callable[["ReconnectingWebSocket"], object]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each retry.

    The first comes at once; before the n-th after it we wait a random time of up to
    ``first_s`` · 2ⁿ⁻¹, at most ``cap_s`` ("full jitter": a crowd that lost its server
    together must not come back together). A connection that held for ``stable_s``
    starts the count anew.

    Raises:
        LocalError: these are no such seconds.

    >>> Backoff(jitter=False).delay(0), Backoff(jitter=False).delay(3)
    (0.0, 4.0)
    """

    first_s: float = 1.0
    cap_s: float = 30.0
    stable_s: float = 10.0
    jitter: bool = True

    def __post_init__(self) -> None:
        check_seconds("first_s", self.first_s)
        check_seconds("cap_s", self.cap_s)
        if self.stable_s != 0:
            check_seconds("stable_s", self.stable_s)

    def delay(self, retries: int) -> float:
        """Seconds to wait when there were so many retries already."""
        if retries == 0:
            return 0.0
        longest = min(self.cap_s, self.first_s * 2.0 ** min(retries - 1, 32))
        return random.uniform(0.0, longest) if self.jitter else longest


class ReconnectingWebSocket:
    """What :func:`connect` gives with ``reconnect=True``: one socket after the other.

    Messages are received from whichever connection there is; those that were sent while
    there was none are lost, as are those in flight when one breaks. ``on_open`` and
    ``on_close`` are called with this object at each turn; what ``on_open`` sends comes
    first, and what it wants to hear itself it reads from :attr:`socket`.

    A program that does not receive slows the server down, as with any socket. What has
    come by a connection that is gone can be received until the next one is gone too.

    >>> from gateway.websocket import WebSocketServer, connect
    >>> with WebSocketServer(("127.0.0.1", 0), lambda ws: ws.send("hi")) as server:
    ...     with connect(server.url, reconnect=True) as ws:
    ...         [ws.receive(), ws.receive()]  # the server closes after each
    ['hi', 'hi']
    """

    def __init__(
        self,
        open_socket: Callable[[], WebSocket],
        backoff: Backoff,
        on_open: Callback | None = None,
        on_close: Callback | None = None,
    ) -> None:
        self._open_socket = open_socket
        self._backoff = backoff
        self._on_open = on_open
        self._on_close = on_close
        self._ws: WebSocket | None = None
        self._latest: WebSocket | None = None
        self._is_open = Event()
        # Connections with something to receive, now or later: the one of the moment,
        # and the one before it until that is read to its end.
        self._unread: deque[WebSocket] = deque()
        self._has_unread = Event()
        self._over: Exception | None = None
        self.retries = 0
        """Attempts since the last connection that was stable."""
        self._in_use = False  # else the keeper is connecting, or waiting to
        self._keeper = gevent.spawn(self._keep_open)

    # What can be asked.

    @property
    def socket(self) -> WebSocket | None:
        """The connection of the moment, or None while there is none."""
        return self._ws

    @property
    def closed(self) -> bool:
        """Whether it stays away: closed by us, or refused for good."""
        return self._over is not None

    @property
    def request(self) -> Request:
        """What the latest connection asked for, and was answered.

        Raises:
            LocalError: there was none yet.
        """
        if self._latest is None:
            raise LocalError("there was no connection yet: wait for on_open")
        return self._latest.request

    @property
    def path(self) -> str:
        """The path that was asked for, without the query."""
        return self.request.path

    @property
    def headers(self) -> dict[str, str]:
        """The upgrade request's headers; names are in lower case."""
        return self.request.headers

    @property
    def remote_address(self) -> str:
        """The server's IP address; empty on a unix socket."""
        return self.request.remote_address

    @property
    def subprotocol(self) -> str | None:
        """What the latest connection agreed on; None before the first."""
        return None if self._latest is None else self._latest.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code the server closed the latest connection with; None while it is open.

        As :attr:`WebSocket.close_code`; so is ``close_reason``.
        """
        return None if self._latest is None else self._latest.close_code

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the latest connection is closing or closed, as far as we know."""
        return None if self._latest is None else self._latest.close_reason

    # Receiving.

    def receive(self, timeout: float | None = None) -> str | bytes:
        """The next message, of this connection or a later one.

        Raises:
            TimeoutError: none came in ``timeout`` seconds.
            ConnectionClosed: :meth:`close` was called.
            HandshakeRefused: the server refuses us with a 4xx.
            ssl.SSLCertVerificationError: its certificate is no good.
            LocalError: the URL cannot be used; another greenlet is receiving; or this
                is a callback, which would wait for itself.
        """
        if getcurrent() is self._keeper:
            raise LocalError("a callback receives from the socket itself: ws.socket")
        patience = gevent.Timeout(timeout, TimeoutError(f"nothing in {timeout} s"))
        with patience:
            while True:
                while self._unread:
                    ws = self._unread[0]
                    try:
                        return ws.receive()
                    except ConnectionClosed:
                        self._forget(ws)
                if self._over is not None:
                    raise self._over
                self._has_unread.wait()

    def __iter__(self) -> Iterator[str | bytes]:
        """Each message, until :meth:`close`; raises what else ends it."""
        try:
            while True:
                yield self.receive()
        except ConnectionClosed:
            return

    # Sending.

    def send(self, message: str | bytes) -> None:
        """Send a message once there is a connection; raises as :meth:`receive`.

        A callback does not wait: without a connection it gets :exc:`ConnectionClosed`.
        """
        if getcurrent() is self._keeper:
            return self._connection().send(message)
        while True:
            self._is_open.wait()
            if self._over is not None:
                raise self._over
            ws = self._ws
            if ws is None:
                continue
            try:
                return ws.send(message)
            except ConnectionClosed:
                self._lose(ws)

    def send_json(self, value: object) -> None:
        """Send ``value`` as JSON text; ``TypeError`` if JSON has no word for it."""
        self.send(msgspec.json.encode(value).decode())

    def ping(self, timeout: float | None = 10.0) -> float:
        """The round-trip time of the connection of the moment, in seconds.

        Raises:
            TimeoutError: no Pong came in ``timeout`` seconds.
            ConnectionClosed: there is no connection, or it broke meanwhile.
        """
        return self._connection().ping(timeout)

    # Closing.

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and stay closed. Waits for the peer as :meth:`WebSocket.close`."""
        sent = Close(code, reason)
        frames.close(sent, mask=True)  # if it cannot be sent, nothing has happened
        ws = self._ws
        kind = ConnectionClosedOK if code in OK_CODES else ConnectionClosedError
        self._end(kind(None, sent))
        if ws is not None:
            ws.close(code, reason)
            self._over = ws.connection_closed()
        if getcurrent() is not self._keeper:
            if self._in_use:
                self._keeper.join(_CALLBACK_S)
            self._keeper.kill()

    def __enter__(self) -> ReconnectingWebSocket:
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> None:
        if isinstance(error, FAILURES):
            self.close(INTERNAL_ERROR.code, INTERNAL_ERROR.text)
        else:
            self.close()

    # The greenlet that keeps the connection.

    def _keep_open(self) -> None:
        while self._over is None:
            try:
                ws = self._open_socket()
            except Exception as exc:
                if is_final(exc):
                    self._end(exc)
                    return
                logger.info("not connected: %s", exc)
            else:
                self._in_use = True
                self._use(ws)
                self._in_use = False
            if self._over is None:
                delay = self._backoff.delay(self.retries)
                self.retries += 1
                gevent.sleep(delay)

    def _use(self, ws: WebSocket) -> None:
        opened_at = monotonic()
        self._ws = self._latest = ws
        try:
            self._call(self._on_open)
            self._add_unread(ws)
            self._is_open.set()
            ws.wait_closed()
        finally:
            self._lose(ws)
            ws.abort()
        if monotonic() - opened_at >= self._backoff.stable_s:
            self.retries = 0
        self._call(self._on_close)

    def _connection(self) -> WebSocket:
        if self._ws is None:
            raise self._over or ConnectionClosedError(None, None)
        return self._ws

    def _add_unread(self, ws: WebSocket) -> None:
        self._unread = deque(each for each in self._unread if each.waiting)
        while len(self._unread) > 1:
            lost = self._unread.popleft().waiting
            logger.warning("%d messages of a lost connection were not received", lost)
        self._unread.append(ws)
        self._has_unread.set()

    def _forget(self, ws: WebSocket) -> None:
        """``ws`` is read to its end."""
        if self._unread and self._unread[0] is ws:
            self._unread.popleft()
        if not self._unread and self._over is None:
            self._has_unread.clear()

    def _lose(self, ws: WebSocket) -> None:
        if self._ws is ws:
            self._ws = None
            if self._over is None:
                self._is_open.clear()

    def _end(self, why: Exception) -> None:
        if self._over is None:
            self._over = why
            self._is_open.set()  # senders shall see that it is over,
            self._has_unread.set()  # and receivers too

    def _call(self, callback: Callback | None) -> None:
        if callback is not None:
            try:
                callback(self)
            except Exception:
                logger.exception("a callback failed: %r", callback)


def is_final(error: Exception) -> bool:
    """Whether trying to connect again would be no use."""
    if isinstance(error, HandshakeRefused):
        return 300 <= error.status < 500 and error.status not in _TRY_LATER
    return isinstance(error, ssl.SSLCertVerificationError) or not isinstance(
        error, OSError
    )
