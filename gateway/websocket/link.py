"""One WebSocket connection as the loop sees it: bytes come in, and it comes to an end.

Control frames are answered here, and messages wait in a short queue for the program.
When that is full nothing more is read, control frames neither, until the program takes
some; TCP then slows the peer down.

Closing, in the words of RFC 6455 §7: whoever starts sends a Close frame and waits for
the other's; then the server closes the TCP connection and the client waits for that. A
peer who breaks the rules gets a Close frame, our half of TCP is shut, and what it still
sends is thrown away until it goes or ``limits.close_timeout_s`` is over.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import count
from sys import getsizeof
from typing import TYPE_CHECKING, Any, ClassVar

from gateway import reasons
from gateway.errors import (
    Close,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PeerError,
)
from gateway.reasons import CloseReason
from gateway.websocket import frames
from gateway.websocket.frames import MASKED, Encoding, Message
from gateway.websocket.inbox import CloseReceived, Inbox, Ping, Pong
from gateway.websocket.inflate import Inflater
from gateway.websocket.outbox import Outbox
from gateway.websocket.transport import Transport, peer_of

if TYPE_CHECKING:
    from gateway.websocket.endpoint import Endpoint
    from gateway.websocket.handshake import Request

__all__ = ["OK_CODES", "Link"]

logger = logging.getLogger("gateway.websocket")

_READ = 1  # libev's event mask
_RECV_BYTES = 2**16
_SHUT_WR = 1
_NO_CODE = Close(1005, "")
OK_CODES = (1000, 1001, 1005)
"""Those that tell of no error."""

_ids = count(1)


class Link:
    """What the loop does with a connection; what the program does is
    :class:`WebSocket`'s, which this tells of all that concerns it.
    """

    __slots__ = (
        "_after_flush",
        "_alive",
        "_close_received",
        "_close_sent",
        "_ending",
        "_endpoint",
        "_inbox",
        "_inflater",
        "_messages",
        "_paused",
        "_queued_bytes",
        "_reason",
        "_request",
        "_timer",
        "_transport",
        "_watcher",
        "bytes_in",
        "id",
        "outbox",
    )

    outbox_class: ClassVar[type[Outbox]] = Outbox
    outbox: Outbox

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        *,
        request: Request,
        encoding: Encoding,
        inflater: Callable[[], Inflater] | None,
        leftover: bytes,
    ) -> None:
        self.id = next(_ids)
        self.bytes_in = 0
        self.outbox = self.outbox_class(
            self, transport, endpoint.turn, endpoint.limits, encoding
        )
        self._endpoint = endpoint
        self._transport: Transport | None = transport
        self._request: Request | None = request
        self._inflater = inflater  # makes one
        self._inbox: Inbox | None = None  # only while something is half received
        self._messages: deque[Any] | None = None  # only while some wait; and jobs
        self._queued_bytes = 0  # of those messages
        self._paused = False  # whether too many wait, so that we stopped reading
        self._ending: CloseReceived | PeerError | None = None  # comes behind them
        self._alive = True  # whether anything came since the last heartbeat
        self._reason: CloseReason | None = None  # why we are closing, once we are
        self._close_received: Close | None = None
        self._close_sent: Close | None = None
        self._after_flush: Callable[[], None] | None = None
        self._timer: Any = None
        self._watcher: Any = endpoint.turn.loop.io(transport.fileno(), _READ)
        if leftover:
            endpoint.turn.loop.run_callback(self._start, leftover)
        else:
            self._watcher.start(self._readable)

    # What the program is told of. All are called in the hub.

    @abstractmethod
    def _arrived(self) -> None:
        """Messages wait. What is done with them may run the program's code."""

    @abstractmethod
    def _ponged(self, payload: bytes) -> None:
        """A Pong has come."""

    @abstractmethod
    def _farewell(self, reason: CloseReason) -> str | None:
        """What is to be sent before our Close frame, if anything."""

    @abstractmethod
    def _emptied(self) -> None:
        """All that waited for the peer is written."""

    @abstractmethod
    def _gone(self, reason: CloseReason) -> None:
        """The connection is gone."""

    # What can be asked.

    @property
    def name(self) -> str:
        """What it is called in logs: its number, and who is at the other end."""
        request, transport = self._request, self._transport
        if request is not None:
            address = request.remote_address
        elif transport is None:
            address = ""
        else:
            address = peer_of(transport)
        return f"#{self.id} ({address})" if address else f"#{self.id}"

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, with nothing more to come or to send."""
        return self._transport is None

    @property
    def close_code(self) -> int | None:
        """The code the peer closed with: 1005 if it gave none, 1006 if it never did.

        None while the connection is open (RFC 6455 §7.1.5).
        """
        if self._close_received is not None:
            return self._close_received.code
        return reasons.LOST.code if self.closed else None

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection is closing or closed, as far as we know."""
        return self._reason

    def connection_closed(self) -> ConnectionClosed:
        """What sending raises once it is closing, and receiving once it is closed."""
        received, sent = self._close_received, self._close_sent
        ok = received is not None and received.code in OK_CODES
        ok = ok and sent is not None and sent.code in OK_CODES
        return (ConnectionClosedOK if ok else ConnectionClosedError)(received, sent)

    # The heartbeat.

    def heartbeat(self) -> None:
        """Ping the peer; :meth:`check_heartbeat` asks later what came back."""
        if self._reason is None:
            # Behind a backlog it is no question yet.
            self._alive = self.outbox.stalled
            self.outbox.put_control(frames.ping(b"", mask=self._is_client))

    def check_heartbeat(self) -> None:
        """Close the connection if the peer has been silent since the heartbeat."""
        if self._alive or self._reason is not None:
            return
        if not self._paused and not self.outbox.stalled:
            # Else it is us who do not read, or the write timeout that has to say it.
            logger.info("%s closed: no_pong", self.name)
            self.start_close(reasons.NO_PONG)

    # Closing.

    def start_close(self, reason: CloseReason) -> None:
        """Begin to close and return at once. What was sent before still arrives."""
        if self._reason is not None:
            return
        frame = frames.close(Close(reason.code, reason.text), mask=self._is_client)
        self._reason = reason
        text = self._farewell(reason)
        if text is not None:
            self.outbox.put(Message(text))
        self._send_close(Close(reason.code, reason.text), frame)
        if self._ending is not None:
            self._end()  # the peer has closed too, behind messages nobody took
        elif self._paused:
            self._resume()  # the peer's Close frame may be behind what we did not read

    def abort(self) -> None:
        """Drop the connection now, without a word more."""
        self._finish(reasons.LOST)

    # What the outbox says. Called in the hub.

    def write_failed(self, error: OSError) -> None:
        """The connection broke while writing."""
        logger.debug("%s lost while writing: %s", self.name, error)
        self._finish(reasons.LOST)

    def reader_too_slow(self) -> None:
        """The peer left too much unread, or for too long."""
        if self._reason is not None:
            self._finish(self._reason)
            return
        logger.warning(
            "%s closed: too_slow: %d bytes unread",
            self.name,
            self.outbox.waiting_bytes,
        )
        self.outbox.discard_unsent()
        self.start_close(reasons.TOO_SLOW)

    def outbox_emptied(self) -> None:
        """All that waited is written."""
        self._emptied()
        if self._after_flush is not None:
            after, self._after_flush = self._after_flush, None
            after()

    # Bytes from the network. Called in the hub.

    @property
    def _is_client(self) -> bool:
        return self.outbox.encoding >= MASKED

    def _start(self, leftover: bytes) -> None:
        """Read what came on the heels of the upgrade, or is kept, then the rest."""
        if self._transport is not None:
            self._feed(leftover)
        if self._transport is not None and not self._paused:
            self._watcher.start(self._readable)

    def _readable(self) -> None:
        assert self._transport is not None
        try:
            data = self._transport.recv(_RECV_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            logger.debug("%s lost while reading: %s", self.name, exc)
            self._finish(reasons.LOST)
            return
        if data:
            self._feed(data)
        else:
            self._finish(reasons.LOST)

    def _feed(self, data: bytes) -> None:
        self._alive = True
        self.bytes_in += len(data)
        if self._ending is not None:
            return  # nothing counts behind it, nor does it give the peer more time
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = self._open_inbox()
        for event in inbox.feed(data):
            if isinstance(event, (str, bytes)):
                if self._reason is None:
                    self._endpoint.messages_in += 1
                    if self._messages is None:
                        self._messages = deque()
                    self._messages.append(event)
                    self._queued_bytes += getsizeof(event)
            elif isinstance(event, Ping):
                if self._close_sent is None:
                    mask = self._is_client
                    self.outbox.put_pong(frames.pong(event.payload, mask=mask))
            elif isinstance(event, Pong):
                self._ponged(event.payload)
            else:
                self._ending = event
        if inbox.idle:
            self._inbox = None
            self._endpoint.spare_inbox = (self._inflater, inbox)
        if self._messages:
            self._pause_if_full(inbox.full)
            self._arrived()
        if inbox.full and self._reason is not None:
            self._resume()  # what it gives is dropped, down to the peer's Close frame
        if self._ending is not None:
            if self._messages and self._reason is None:
                # They may never be taken, and the peer has a deadline like our own.
                self._start_timer(self._end, share=0.5)
            else:
                self._end()

    def _open_inbox(self) -> Inbox:
        """One that another socket has just laid aside, if it is of the same kind."""
        masked = not self._is_client
        inflater, inbox = self._endpoint.spare_inbox
        if inbox is not None and inflater is self._inflater and inbox.masked is masked:
            self._endpoint.spare_inbox = (None, None)
            return inbox
        inflate = None if self._inflater is None else self._inflater()
        return Inbox(self._endpoint.limits, masked=masked, inflater=inflate)

    def _pause_if_full(self, full: bool) -> None:
        assert self._messages is not None
        limits = self._endpoint.limits
        full = full or len(self._messages) >= limits.max_queued_messages
        full = full or self._queued_bytes >= limits.max_queued_bytes
        if full and not self._paused and not self._reason:
            self._paused = True
            self._watcher.stop()

    def _resume(self) -> None:
        self._paused = False
        self._alive = True  # whatever it has said meanwhile is still to be read
        if self._inbox is not None and self._inbox.full:
            self._watcher.stop()  # what the inbox keeps comes first
            self._endpoint.turn.loop.run_callback(self._start, b"")
        elif self._transport is not None:
            self._watcher.start(self._readable)

    # The end.

    def _end(self) -> None:
        """Answer a Close frame, or a fault, now that what came before it is dealt with.

        So the program's answers to the peer's last messages still reach the peer.
        """
        ending, self._ending = self._ending, None
        if self._transport is None:
            return
        if isinstance(ending, CloseReceived):
            self._closed_by_peer(ending.close)
        elif ending is not None:
            self._fail(ending)

    def _closed_by_peer(self, close: Close | None) -> None:
        self._close_received = close or _NO_CODE
        if self._reason is None:
            self._reason = CloseReason("closed_by_peer", *self._close_received)
            self._send_close(
                self._close_received, frames.close(close, mask=self._is_client)
            )
        if not self._is_client:
            self._when_flushed(self.abort)

    def _fail(self, error: PeerError) -> None:
        """Fail the WebSocket Connection (RFC 6455 §7.1.7)."""
        logger.warning("%s closed: %s: %s", self.name, error.reason.name, error)
        self.start_close(error.reason._replace(text=str(error)))
        self._when_flushed(self._half_close)

    def _send_close(self, close: Close, frame: bytes) -> None:
        self._close_sent = close
        self.outbox.put_control(frame)
        self.outbox.seal()
        self._start_timer(self.abort)

    def _start_timer(self, action: Callable[[], None], share: float = 1.0) -> None:
        """Do ``action`` if closing takes more than a ``share`` of the time there is."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        timeout = self._endpoint.limits.close_timeout_s * share
        self._timer = self._endpoint.turn.loop.timer(timeout)
        self._timer.start(action)

    def _when_flushed(self, action: Callable[[], None]) -> None:
        self._after_flush = action
        self.outbox.notify_when_empty()

    def _half_close(self) -> None:
        if self._transport is not None:
            try:
                self._transport.shutdown(_SHUT_WR)
            except OSError as exc:
                self.write_failed(exc)

    def _finish(self, reason: CloseReason) -> None:
        """The connection is gone. ``reason`` counts only if there was none before."""
        transport = self._transport
        if transport is None:
            return
        self._transport = None
        self._reason = self._reason or reason
        self._watcher.stop()
        self._watcher.close()
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._inbox = None
        self._after_flush = None
        self.outbox.close()
        transport.close()
        self._gone(self._reason)
