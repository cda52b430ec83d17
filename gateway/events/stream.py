"""One client of the event stream, from its subscriptions to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from errno import EPIPE
from itertools import count
from time import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from gateway import reasons
from gateway.cable import messages
from gateway.cable.connection import Connection
from gateway.cable.subscriptions import Subscriptions
from gateway.clock import LoopTimer, OneAtATime
from gateway.errors import CommandError, HandshakeRefused
from gateway.events.asking import Asked
from gateway.events.writer import Writer
from gateway.reasons import CloseReason
from gateway.session import ConnectionInfo
from gateway.signals import announce
from gateway.websocket.frames import RAW, Message

if TYPE_CHECKING:
    from gateway.server import CableServer

__all__ = ["HEADERS", "EventStream"]

logger = logging.getLogger("gateway.cable")

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "private, no-cache, no-store, must-revalidate, max-age=0",
    "X-Accel-Buffering": "no",
}

_HEARTBEAT_S = 15.0

_PIECE_BYTES = 2**16
"""How much the WSGI server is given at a time: its client has as long for each."""

_ids = count(1)


class EventStream:
    """The wire of its connection, and its member of audiences.

    Iterating gives the bytes to send, until the client or the server ends it. Whoever
    iterates calls :meth:`end` afterwards, even if it never began.
    """

    extended = True
    encoding = RAW
    waiting = 0
    failures = (Exception, gevent.Timeout)

    def __init__(
        self, server: CableServer, connection: Connection, asked: Asked
    ) -> None:
        self.owner_id = -next(_ids)
        self.connection = connection
        self.close_reason: CloseReason | None = None
        """Why we have ended it, or do."""
        self._server = server
        self._turn = server.endpoint.turn
        self._commands = asked.commands
        self._writer = Writer(asked)
        self._waiting: dict[Hashable, bytes] = {}
        self._size = 0  # of what has come while the client was busy
        self._busy = False
        self._number = 0  # key of the next frame that has none
        self._arrived = Event()
        self._ended = False
        self._in_line = Semaphore()
        self._subscriptions = Subscriptions(
            connection, self, server.hub, server.channels, server.rules[False]
        )
        self._since = time()
        self._bytes_out = 0
        connection.attach(self)
        server.event_streams.add(self)
        server.endpoint.opened += 1

    def subscribe(self) -> None:
        """Subscribe to all that was asked for.

        Raises:
            HandshakeRefused: something was rejected, or cannot be had just now.
        """
        self.announce("connected", connection=self.connection)
        try:
            for command in self._commands:
                self._subscriptions.execute(command)
        except CommandError as exc:
            raise self._refusal(400, str(exc)) from None
        if self.close_reason is reasons.NO_BROKER:
            raise self._refusal(503, reasons.NO_BROKER.text, ("Retry-After", "1"))
        if len(self._subscriptions) < len(self._commands):
            raise self._refusal(400, "The subscription was rejected.")

    def _refusal(
        self, status: int, text: str, *headers: tuple[str, str]
    ) -> HandshakeRefused:
        self.close_reason = self.close_reason or reasons.NORMAL
        return HandshakeRefused(status, text, list(headers))

    def __iter__(self) -> Iterator[bytes]:
        yield b":\n\n"  # a comment, for with it the head of the answer goes out
        while self._waiting or self.close_reason is None:
            self._busy = False
            if self._waiting or self._arrived.wait(_HEARTBEAT_S):
                data = self._writer.write(self._taken())
            else:
                data = b": still here\n\n"
            self._busy = True
            yield from self._offer(data)
            if self._writer.over:
                self.close_reason = self.close_reason or reasons.NORMAL
                return

    def _taken(self) -> bytes:
        texts = b"".join(self._waiting.values())
        self._waiting.clear()
        self._arrived.clear()
        self._size = 0
        return texts

    def _offer(self, data: bytes) -> Iterator[bytes]:
        """Give ``data`` to the client, who has ``write_timeout`` for each piece."""
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            # The WSGI server waits in this greenlet. It is told what it knows: that
            # the client is gone.
            deadline = gevent.Timeout.start_new(
                self._server.settings.write_timeout,
                BrokenPipeError(EPIPE, "the client does not read"),
            )
            try:
                yield piece
            except GeneratorExit:
                if not deadline.pending:
                    self.close_reason = self.close_reason or reasons.TOO_SLOW
                raise
            finally:
                deadline.close()
            self._bytes_out += len(piece)
            self._turn.bytes_out += len(piece)

    def end(self) -> None:
        """The client is gone, or was never let in; all that was its own is given up."""
        if self._ended:
            return
        self._ended = True
        self.close_reason = self.close_reason or reasons.LOST
        self._server.event_streams.discard(self)
        self._server.endpoint.closed[self.close_reason.name] += 1
        with self._server.context():
            if self.close_reason is reasons.TOO_SLOW:
                self.announce("too_slow", connection=self.connection)
            self._subscriptions.close(lingering=True)
            try:
                self.connection.disconnect()
            except self.failures as exc:
                rescued = isinstance(exc, Exception) and self.connection.rescue(exc)
                if not rescued:
                    logger.exception("%s: disconnect failed", self.connection)
            self.announce(
                "disconnected", connection=self.connection, reason=self.close_reason
            )

    def info(self) -> ConnectionInfo:
        """What there is to tell."""
        return ConnectionInfo(
            id=self.id,
            identifiers=self.connection.identifiers,
            since=self._since,
            subscriptions=self._subscriptions.identifiers,
            bytes_in=0,
            bytes_out=self._bytes_out,
            waiting_bytes=sum(map(len, self._waiting.values())),
        )

    # What an audience wants of its members.

    @property
    def stalled(self) -> bool:
        """Whether the client is still taking what came before."""
        return self._busy

    def take(self, frames: bytes, key: Hashable = None) -> None:
        """Frames to send, in order; of those under a key the newest."""
        if self.close_reason is not None:
            return
        if key is None:
            key = self._number
            self._number += 1
        replaced = self._waiting.get(key, b"")
        self._turn.conflated += bool(replaced)
        self._waiting[key] = frames
        self._arrived.set()
        if self._busy:
            self._size += len(frames) - len(replaced)
            if self._size > self._server.settings.max_outgoing_bytes:
                self._waiting.clear()
                self._finish(reasons.TOO_SLOW)

    def write(self, frames: bytes) -> None:
        """It has a greenlet that writes."""
        self.take(frames)

    def _finish(self, reason: CloseReason) -> None:
        """Say why, and no more."""
        if self.close_reason is None:
            self.close_reason = reason
            self._waiting[None] = Message.text(messages.disconnect(reason)).encode(RAW)
            self._arrived.set()

    # The wire.

    @property
    def id(self) -> str:
        return f"{self._server.token}-{self.owner_id}"

    @property
    def member(self) -> EventStream:
        return self

    def send_text(self, payload: bytes) -> None:
        self._turn.settle()  # what was broadcast before comes before
        self._turn.messages_out += 1
        self.take(Message.text(payload).encode(RAW))

    def close(self, reason: CloseReason) -> None:
        self._turn.settle()
        self._finish(reason)

    def post(self, job: Callable[[], object]) -> None:
        self._server.endpoint.workers.run(self._do, job)

    def every(self, seconds: float, job: Callable[[], object]) -> LoopTimer:
        return LoopTimer(seconds, OneAtATime(self.post, job), repeat=True)

    def later(self, seconds: float, job: Callable[[], object]) -> LoopTimer:
        return LoopTimer(seconds, lambda: self.post(job))

    def announce(self, event: str, /, **about: Any) -> None:
        announce(self._server.app, event, **about)

    def _do(self, job: Callable[[], object]) -> None:
        with self._in_line, self._server.context():
            job()
