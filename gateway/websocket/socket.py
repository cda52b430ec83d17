"""An open WebSocket as the program sees it: read it in a greenlet, or be called.

What has come (:mod:`gateway.websocket.link`) goes one of two ways:

* ``receive()`` and iteration give it to a greenlet that keeps its place in the code;
* ``listen()`` parks the socket: it owns no greenlet and no parser until a message
  comes, which then runs in a worker greenlet, one message after the other.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from sys import getsizeof
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import gevent
import msgspec
from gevent import get_hub, getcurrent
from gevent.event import AsyncResult, Event
from gevent.hub import Waiter

from gateway import reasons
from gateway.errors import ConnectionClosed, LocalError
from gateway.reasons import CloseReason
from gateway.websocket import frames
from gateway.websocket.frames import Encoding, Message
from gateway.websocket.inflate import Inflater
from gateway.websocket.link import Link
from gateway.websocket.transport import Transport

if TYPE_CHECKING:
    from gateway.websocket.admission import Admission
    from gateway.websocket.endpoint import Endpoint
    from gateway.websocket.handshake import Request

__all__ = ["ENDS", "FAILURES", "Listener", "WebSocket"]

logger = logging.getLogger("gateway.websocket")

FAILURES = (Exception, gevent.Timeout)
"""By what a program fails; a Timeout of gevent is no Exception."""

ENDS = (*FAILURES, gevent.GreenletExit)
"""By what a program ends that has not come to its end."""


class Listener(Protocol):
    """Who is called about a parked socket."""

    def received(self, message: str | bytes) -> None:
        """A message has come. Runs in a worker greenlet, one call after the other."""

    def closed(self, ws: WebSocket) -> None:
        """The last call, behind all messages: ``ws.close_reason`` says why."""

    def farewell(self, reason: CloseReason) -> str | None:
        """Text to send before our Close frame, if any. Called in the hub."""


class WebSocket(Link):
    """One open connection, on either side.

    Any number of greenlets may send; one at a time may receive. When the connection is
    gone both raise :exc:`ConnectionClosed`, never a bare ``OSError``. Leaving its
    ``with`` block closes it: with 1000, or 1011 if by an exception.

    >>> from gateway.websocket import WebSocketServer, connect
    >>> def shout(ws):
    ...     for message in ws:
    ...         ws.send(message.upper())
    >>> with WebSocketServer(("127.0.0.1", 0), shout) as server:
    ...     with connect(server.url) as ws:
    ...         ws.send("hello")
    ...         ws.receive()
    'HELLO'
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_listener",
        "_network",
        "_pings",
        "_serving",
        "_slot",
        "_waiter",
        "subprotocol",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        *,
        request: Request,
        encoding: Encoding,
        subprotocol: str | None = None,
        inflater: Callable[[], Inflater] | None = None,
        leftover: bytes = b"",
        admission: Admission | None = None,
    ) -> None:
        super().__init__(
            endpoint,
            transport,
            request=request,
            encoding=encoding,
            inflater=inflater,
            leftover=leftover,
        )
        self.subprotocol = subprotocol
        self._waiter: Waiter[None] | None = None  # the greenlet in receive()
        self._listener: Listener | None = None
        self._serving = False  # whether a worker greenlet is with the listener
        # Greenlets in send(), close(), wait_closed():
        self._changed: Event | None = None
        self._pings: dict[bytes, AsyncResult[float]] | None = None
        self._network = None if admission is None else admission.use()
        self._slot = endpoint.add(self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "closing" if self._reason else "open"
        return f"<WebSocket #{self.id} {state}>"

    # What can be asked.

    @property
    def request(self) -> Request:
        """The upgrade request: ``path``, ``query``, ``headers``, ``remote_address``.

        On the client's side ``response_headers`` too, those of the server's answer.
        """
        if self._request is None:
            raise LocalError(
                "the upgrade request of this socket was released to save memory; "
                "keep what you need of it when the socket opens"
            )
        return self._request

    def release_request(self) -> None:
        """Forget the upgrade request: some KB per socket, for those that park."""
        self._request = None

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
        """The peer's IP address; empty on a unix socket."""
        return self.request.remote_address

    @property
    def waiting(self) -> int:
        """How many messages have come that nobody has taken yet."""
        return sum(not callable(item) for item in self._messages or ())

    # Receiving in a greenlet.

    def receive(self, timeout: float | None = None) -> str | bytes:
        """Return the next message: ``str`` for text, ``bytes`` for binary.

        Waits for it, at most ``timeout`` seconds (then :exc:`TimeoutError`). Leaving it
        by an exception, a ``gevent.Timeout`` say, loses nothing.

        Raises:
            ConnectionClosed: when all messages were received and no more can come.
        """
        if self._listener is not None:
            raise LocalError("this socket is parked: its messages go to its listener")
        while not self._messages:
            if self._ending is not None:
                self._end()
            if self._transport is None:
                raise self.connection_closed()
            self._wait_for_message(timeout)
        message: str | bytes = self._messages.popleft()
        self._queued_bytes -= getsizeof(message)
        if self._paused:
            limits = self._endpoint.limits
            few = len(self._messages) * 2 <= limits.max_queued_messages
            if few and self._queued_bytes * 2 <= limits.max_queued_bytes:
                self._resume()
        return message

    def __iter__(self) -> Iterator[str | bytes]:
        """Each message until the connection is closed, by whomever and however."""
        try:
            while True:
                yield self.receive()
        except ConnectionClosed:
            return

    def _wait_for_message(self, timeout: float | None) -> None:
        if self._waiter is not None:
            raise LocalError("another greenlet is already receiving from this socket")
        waiter: Waiter[None] = Waiter()
        self._waiter = waiter
        try:
            if timeout is None:
                waiter.get()
            else:
                with gevent.Timeout(timeout, TimeoutError(f"nothing in {timeout} s")):
                    waiter.get()
        finally:
            self._waiter = None

    # Receiving by being called.

    @property
    def listener(self) -> Listener | None:
        """Who is called about this socket, if it is parked."""
        return self._listener

    def listen(self, listener: Listener) -> None:
        """Park this socket: ``listener`` is called with each message and at the end."""
        self._listener = listener
        if self._messages or self._transport is None:
            self._serve_soon()

    def post(self, job: Callable[[], object]) -> None:
        """Run ``job`` in line with what the listener is called for, while it is."""
        if self._listener is not None and self._transport is not None:
            if self._messages is None:
                self._messages = deque()
            self._messages.append(job)
            self._serve_soon()

    def _serve_soon(self) -> None:
        if not self._serving:
            self._serving = True
            self._endpoint.workers.run(self._serve)

    def _serve_now(self) -> None:
        if not self._serving:
            self._serving = True
            self._endpoint.workers.run_now(self._serve)

    def _serve(self) -> None:
        """In a worker greenlet: give the listener all there is, one after the other."""
        listener = self._listener
        assert listener is not None
        try:
            while self._messages:
                message = self._messages.popleft()
                if not callable(message):
                    self._queued_bytes -= getsizeof(message)
                if self._paused and not self._messages:
                    self._resume()
                if callable(message):
                    message()
                else:
                    listener.received(message)
        except ENDS as exc:
            self.fail(exc)
        finally:
            self._messages = None
            self._queued_bytes = 0
            self._serving = False
        if self._ending is not None:
            self._end()
        if self._transport is None and self._listener is not None:
            self._listener = None
            listener.closed(self)

    # Sending.

    def send(self, message: str | bytes) -> None:
        """Send a text (``str``) or binary (``bytes``) message.

        Returns at once while the peer keeps up; while it leaves more than
        ``limits.high_water_bytes`` unread, waits before it sends (in the hub, never).

        Raises:
            ConnectionClosed: when the connection is closing or closed.
            LocalError: this is no message, or another thread's socket.
        """
        prepared = Message(message)
        outbox = self.outbox
        while outbox.crowded and self._reason is None and getcurrent() is not get_hub():
            self._check_thread()
            outbox.notify_when_empty()
            self._wait_for_change()
        self.send_message(prepared)

    def send_json(self, value: object) -> None:
        """Send ``value`` as JSON text; ``TypeError`` if JSON has no word for it."""
        self.send(msgspec.json.encode(value).decode())

    def send_message(self, message: Message) -> None:
        """Send a prepared message. Never waits; usable from the hub."""
        self._check_thread()
        if self._reason is not None:
            raise self.connection_closed()
        self.outbox.put(message)

    def ping(self, timeout: float | None = 10.0) -> float:
        """Ping the peer and return the round-trip time in seconds.

        Raises:
            TimeoutError: no Pong came in ``timeout`` seconds; or it was not read, since
                the program does not take the messages in front of it.
            ConnectionClosed: the connection is, or was meanwhile, closed.
            LocalError: this is another thread's socket.
        """
        self._check_thread()
        if self._reason is not None:
            raise self.connection_closed()
        payload = secrets.token_bytes(8)
        answer: AsyncResult[float] = AsyncResult()
        self._pings = self._pings or {}
        self._pings[payload] = answer
        sent_at = perf_counter()
        self.outbox.put_control(frames.ping(payload, mask=self._is_client))
        patience = gevent.Timeout(timeout)
        try:
            with patience:
                ponged_at = answer.get()
        except gevent.Timeout as expired:
            if expired is not patience:
                raise
            why = f"no Pong in {timeout} s"
            if self._paused:
                why += f": {self.waiting} messages wait to be received in front of it"
            raise TimeoutError(why) from None
        finally:
            if self._pings is not None:
                self._pings.pop(payload, None)
        assert ponged_at is not None
        return ponged_at - sent_at

    def _check_thread(self) -> None:
        if get_hub().loop is not self._endpoint.turn.loop:
            raise LocalError(
                "this socket belongs to another thread, whose loop has to do it: "
                "loop.run_callback_threadsafe(ws.send, ...) asks it to"
            )

    # Closing.

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close: send what waits, exchange Close frames, let TCP go. Again is harmless.

        Waits for the peer, at most ``limits.close_timeout_s``. ``code`` is 1000 to 1014
        less 1004 to 1006, or 3000 to 4999; ``reason`` is cut to 123 bytes.
        """
        self.start_close(CloseReason("closed_by_us", code, reason))
        if getcurrent() is not get_hub():
            self.wait_closed()

    def explains(self, error: BaseException) -> bool:
        """Whether ``error`` only tells what is known: this connection is closed."""
        return isinstance(error, ConnectionClosed) and self._reason is not None

    def fail(self, error: BaseException) -> None:
        """The program has ended by one of ``ENDS``: report that and close with 1011.

        That a peer has left in the middle of it is no failure. A ``GreenletExit`` is
        gevent's way to end quietly: it closes with 1000.
        """
        if isinstance(error, gevent.GreenletExit):
            self.start_close(reasons.NORMAL)
            return
        if self.explains(error):
            logger.debug("%s: the program stopped: %s", self.name, error)
        else:
            logger.error("%s: the program failed", self.name, exc_info=error)
        self.start_close(reasons.INTERNAL_ERROR)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is gone; False if that took over ``timeout`` s."""
        deadline = None if timeout is None else perf_counter() + timeout
        while self._transport is not None:
            left = None if deadline is None else deadline - perf_counter()
            if left is not None and left <= 0:
                return False
            self._wait_for_change(left)
        return True

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> None:
        if isinstance(error, FAILURES):
            self.start_close(reasons.INTERNAL_ERROR)
        self.close()

    # What the link tells. Called in the hub.

    def _arrived(self) -> None:
        if self._listener is not None:
            self._serve_now()
        elif self._waiter is not None:
            self._waiter.switch(None)

    def _ponged(self, payload: bytes) -> None:
        """A Pong answers its Ping and all before it (RFC 6455 §5.5.3)."""
        if self._pings is not None and payload in self._pings:
            now = perf_counter()
            while self._pings:
                earliest = next(iter(self._pings))
                self._pings.pop(earliest).set(now)
                if earliest == payload:
                    break

    def _farewell(self, reason: CloseReason) -> str | None:
        return None if self._listener is None else self._listener.farewell(reason)

    def _emptied(self) -> None:
        self._notify()

    def _gone(self, reason: CloseReason) -> None:
        if self._slot is not None:
            self._slot.discard(self)
        self._endpoint.remove(self, reason, self._network)
        pings, self._pings = self._pings, None
        for answer in (pings or {}).values():
            answer.set_exception(self.connection_closed())
        self._notify()
        if self._listener is not None:
            self._serve_soon()
        elif self._waiter is not None:
            self._endpoint.turn.loop.run_callback(self._waiter.switch, None)

    # Waiting for something other than a message: rare, so one event serves all.

    def _wait_for_change(self, timeout: float | None = None) -> None:
        if self._changed is None:
            self._changed = Event()
        self._changed.wait(timeout)

    def _notify(self) -> None:
        if self._changed is not None:
            changed, self._changed = self._changed, None
            changed.set()
