"""The only door to write: ordered, coalescing, bounded, and never in anybody's way.

While a turn of the event loop runs, what is to be sent is only noted down. At the end
of the turn (``turn``) each ``Outbox`` that got something writes once, without waiting;
those of a crowd write when it is their turn (``round``). What the kernel does not take
stays behind in that outbox's ``Backlog`` until it does. So a slow reader costs its own
memory and nothing else, and frames leave in the order they came.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

from gateway.websocket.backlog import Backlog
from gateway.websocket.frames import Encoding, Message
from gateway.websocket.limits import Limits
from gateway.websocket.turn import Turn

if TYPE_CHECKING:
    from gateway.websocket.transport import Transport

__all__ = ["Outbox", "OutboxOwner"]

_PATIENCE = 128
"""Sends of one turn after which a sender that can wait does."""

_PONG = "pong"  # the key of Pongs in a backlog


class OutboxOwner(Protocol):
    """What an outbox tells the socket it belongs to.

    All are called by the loop, never while something is being handed to outboxes: the
    owner may leave whatever it is a member of.
    """

    id: int

    def write_failed(self, error: OSError) -> None:
        """The connection is broken."""

    def reader_too_slow(self) -> None:
        """The peer leaves more unread, or for longer, than its limits allow."""

    def outbox_emptied(self) -> None:
        """All is written; said only once per :meth:`Outbox.notify_when_empty`."""


class Outbox:
    """What is on its way to one peer. Nothing here waits; all runs in the loop's
    thread.

    It calls ``owner.reader_too_slow()`` when over ``limits.max_outgoing_bytes`` wait
    behind what is being written, or when the peer takes nothing of that for
    ``write_timeout_s``.
    """

    __slots__ = (
        "_backlog",
        "_limits",
        "_notify",
        "_owner",
        "_queue",
        "_sealed",
        "_transport",
        "_turn",
        "bytes_out",
        "encoding",
    )

    def __init__(
        self,
        owner: OutboxOwner,
        transport: Transport,
        turn: Turn,
        limits: Limits,
        encoding: Encoding,
    ) -> None:
        self.encoding = encoding
        self.bytes_out = 0
        self._owner = owner
        self._transport: Transport | None = transport
        self._turn = turn
        self._limits = limits
        # The frames of this turn. No list for a single piece: the garbage collector
        # would have one to look at for each reader of a fan-out.
        self._queue: bytes | list[bytes] | None = None
        self._backlog: Backlog | None = None  # frames the kernel did not take
        self._sealed = False  # whether the Close frame is in
        self._notify = False

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the peer, or the end of the turn, has not taken yet."""
        backlog = 0 if self._backlog is None else self._backlog.size
        return backlog + sum(map(len, self._frames))

    @property
    def owner_id(self) -> int:
        """Which socket this is the outbox of."""
        return self._owner.id

    @property
    def stalled(self) -> bool:
        """Whether the peer reads more slowly than we write."""
        return self._backlog is not None

    @property
    def crowded(self) -> bool:
        """Whether a sender that can wait should, until :meth:`notify_when_empty`."""
        if self._backlog is not None:
            return self._backlog.size > self._limits.high_water_bytes
        frames = self._frames  # few: they are looked at after every send
        return (
            len(frames) >= _PATIENCE
            or sum(map(len, frames)) > self._limits.high_water_bytes
        )

    @property
    def _frames(self) -> Sequence[bytes]:
        """What this turn has brought, in pieces."""
        queue = self._queue
        if queue is None:
            return ()
        return (queue,) if isinstance(queue, bytes) else queue

    def put(self, message: Message) -> None:
        """Send one message, after all that was sent before."""
        turn = self._turn
        turn.settle()
        turn.messages_out += 1
        self.take(message.encode(self.encoding))

    def put_control(self, frame: bytes) -> None:
        """Send a control frame (Ping, Close) in its turn."""
        self._turn.settle()
        self.take(frame)

    def put_pong(self, frame: bytes) -> None:
        """Send a Pong. A peer who does not read them gets the newest (§5.5.3)."""
        self._turn.settle()
        self.take(frame, key=_PONG)

    def take(self, frames: bytes, key: Hashable = None) -> None:
        """Queue whole frames as they are. A backlog keeps one value of each ``key``.

        Whatever comes of it comes later, from the loop: this is called for one reader
        after the other, none of whom may be forgotten because another one leaves.
        """
        backlog = self._backlog
        if self._sealed:
            return
        if backlog is None:
            queue = self._queue
            if queue is None:
                self._queue = frames
                self._turn.will_write(self)
            elif isinstance(queue, bytes):
                self._queue = [queue, frames]
            else:
                queue.append(frames)
        else:
            if backlog.add(frames, key) and key is not _PONG:
                self._turn.conflated += 1
            if self._is_full(backlog) and not backlog.accused:
                backlog.accused = True
                self._turn.loop.run_callback(self._judge, backlog)

    def seal(self) -> None:
        """Nothing may follow: what is in ends with a Close frame (RFC 6455 §5.5.1)."""
        self._sealed = True

    def flush(self) -> None:
        """Write what this turn has brought, at once and in one ``send``."""
        queue, self._queue = self._queue, None
        if queue is None:
            return
        try:
            self._send(queue if isinstance(queue, bytes) else b"".join(queue))
        except OSError as exc:
            self._owner.write_failed(exc)
            return
        if self._notify and self._backlog is None:
            self._notify = False
            self._owner.outbox_emptied()

    def write(self, frames: bytes) -> None:
        """Take whole frames and, if nothing waits before them, write them at once.

        As with :meth:`take`, whatever comes of it comes later.
        """
        if self._queue is not None or self._backlog is not None or self._sealed:
            self.take(frames)
            return
        try:
            self._send(frames)
        except OSError as exc:
            self._turn.loop.run_callback(self._owner.write_failed, exc)

    def _send(self, data: bytes) -> None:
        """Nothing waits: hand all to the kernel that it takes."""
        if self._transport is None:
            return
        try:
            sent = self._transport.send(data)
        except BlockingIOError:
            sent = 0
        turn = self._turn
        turn.writes += 1
        turn.bytes_out += sent
        self.bytes_out += sent
        if sent < len(data):
            self._backlog = Backlog(
                turn.loop,
                self._transport.fileno(),
                memoryview(data)[sent:],
                has_room=self._drain,
                patience_s=self._limits.write_timeout_s,
                out_of_patience=self._owner.reader_too_slow,
            )

    def notify_when_empty(self) -> None:
        """Call ``owner.outbox_emptied()`` when all that waits now is written."""
        self._turn.settle()
        self._notify = True
        if self._backlog is None and self._queue is None:
            self._turn.will_write(self)
            self._queue = b""

    def discard_unsent(self) -> None:
        """Drop what waits, but not the rest of a frame that is half written."""
        if self._backlog is None:
            self._queue = None
        else:
            self._backlog.discard_unsent()

    def close(self) -> None:
        """Forget everything, for good: the connection is gone."""
        self._sealed = True
        self._transport = None
        self._queue = None
        if self._backlog is not None:
            self._backlog.close()
            self._backlog = None

    # What the backlog calls.

    def _drain(self, backlog: Backlog) -> None:
        """The kernel has room again."""
        assert self._transport is not None
        try:
            sent = self._transport.send(backlog.head)
        except BlockingIOError:
            return
        except OSError as exc:
            self._owner.write_failed(exc)
            return
        self._turn.writes += 1
        self._turn.bytes_out += sent
        self.bytes_out += sent
        if backlog.written(sent):
            backlog.close()
            self._backlog = None
            if self._notify:
                self._notify = False
                self._owner.outbox_emptied()

    def _is_full(self, backlog: Backlog) -> bool:
        return backlog.behind > self._limits.max_outgoing_bytes

    def _judge(self, backlog: Backlog) -> None:
        """Too much waited in ``backlog``; it may have been read or dropped since."""
        backlog.accused = False
        if backlog is self._backlog and self._is_full(backlog):
            self._owner.reader_too_slow()
