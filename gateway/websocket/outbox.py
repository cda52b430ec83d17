"""The only door to write: ordered, coalescing, bounded, and never in anybody's way.

While a turn of the event loop runs, what is to be sent is only noted down. At the end
of the turn each ``Outbox`` that got something writes once, without waiting; what the
kernel does not take stays behind in that outbox's ``Backlog`` until it does. So a slow
reader costs its own memory and nothing else, and frames leave in the order they came.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from gevent import get_hub
from gevent.hub import Hub

from gateway.websocket.frames import Encoding, Message
from gateway.websocket.limits import Limits

if TYPE_CHECKING:
    from gateway.websocket.multicast import Multicast
    from gateway.websocket.transport import Transport

__all__ = ["Outbox", "OutboxOwner", "Turn"]

_SLICE_S = 0.004
"""Longest stretch of writing before the loop looks at other sockets again."""

_SMALL = 64
"""So few writes (echoes, confirmations) need not queue behind a large fan-out."""

_CHUNK_BYTES = 2**16
"""How much of a backlog is offered to the kernel at a time."""

_PATIENCE = 128
"""Sends of one turn after which a sender that can wait does."""

_WRITE = 2  # libev's event mask

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


class Turn:
    """What one thread's event loop is going to write, and what it has written.

    ``messages_out`` counts messages times their readers, ``writes`` counts ``send``,
    ``conflated`` counts frames that were replaced unread by newer ones.
    """

    _of_hub: WeakKeyDictionary[Hub, Turn] = WeakKeyDictionary()

    def __init__(self, hub: Hub) -> None:
        self.loop = hub.loop
        self.messages_out = 0
        self.bytes_out = 0
        self.writes = 0
        self.conflated = 0
        self._log: list[tuple[Multicast, list[Message]]] = []
        self._fresh: list[Outbox] = []
        self._large: deque[list[Outbox]] = deque()
        self._scheduled = False
        self._slice = hub.loop.timer(0.0)

    @classmethod
    def current(cls) -> Turn:
        """The turn of this thread's hub, shared by all its sockets."""
        hub = get_hub()
        turn = cls._of_hub.get(hub)
        if turn is None:
            turn = cls._of_hub[hub] = cls(hub)
        return turn

    def note(self, multicast: Multicast, message: Message) -> None:
        """Send ``message`` to all members at the end of the turn.

        Neighbours in the log that go to the same members are joined once for all.
        """
        log = self._log
        if log and log[-1][0] is multicast:
            log[-1][1].append(message)
        else:
            log.append((multicast, [message]))
        if not self._scheduled:
            self._schedule()

    def settle(self) -> None:
        """Deal the log out to the outboxes now.

        Called before anything that must come after it: a message to one socket, or a
        change of membership, since a member gets just what was sent while it was one.
        """
        if self._log:
            log, self._log = self._log, []
            for multicast, messages in log:
                multicast.deal(messages)

    def will_write(self, outbox: Outbox) -> None:
        """``outbox`` has got its first frame of this turn."""
        self._fresh.append(outbox)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self.loop.run_callback(self._end)

    def _end(self) -> None:
        try:
            self.settle()
        finally:
            self._scheduled = False  # only now, for settling asks for a turn, too
        fresh, self._fresh = self._fresh, []
        if len(fresh) <= _SMALL:
            for outbox in fresh:
                outbox.flush()
        else:
            fresh.reverse()  # written from its end, which is cheap to cut off
            self._large.append(fresh)
            if len(self._large) == 1:  # else a slice is due anyway
                self._write_slice()

    def _write_slice(self) -> None:
        """Write for some milliseconds only: a fan-out to 15,000 takes over 100.

        The next slice is a timer's. gevent runs up to fifty callbacks before it lets
        the loop look at sockets again.
        """
        batch = self._large.popleft()
        until = perf_counter() + _SLICE_S
        while batch and perf_counter() < until:
            for outbox in reversed(batch[-16:]):
                outbox.flush()
            del batch[-16:]
        if batch:
            self._large.append(batch)
        if self._large:
            self._slice.start(self._write_slice)


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
        self._queue: list[bytes] | None = None  # frames of this turn
        self._backlog: Backlog | None = None  # frames the kernel did not take
        self._sealed = False  # whether the Close frame is in
        self._notify = False

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the peer, or the end of the turn, has not taken yet."""
        backlog = 0 if self._backlog is None else self._backlog.size
        return backlog + sum(map(len, self._queue or ()))

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
        queue = self._queue or ()  # short: it is looked at after every send
        return (
            len(queue) >= _PATIENCE
            or sum(map(len, queue)) > self._limits.high_water_bytes
        )

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
            if self._queue is None:
                self._queue = [frames]
                self._turn.will_write(self)
            else:
                self._queue.append(frames)
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
        if self._transport is None or queue is None:
            return
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        try:
            sent = self._transport.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._owner.write_failed(exc)
            return
        turn = self._turn
        turn.writes += 1
        turn.bytes_out += sent
        self.bytes_out += sent
        if sent < len(data):
            self._backlog = Backlog(self, self._transport, memoryview(data)[sent:])
        if self._notify and self._backlog is None:
            self._notify = False
            self._owner.outbox_emptied()

    def notify_when_empty(self) -> None:
        """Call ``owner.outbox_emptied()`` when all that waits now is written."""
        self._notify = True
        if self._backlog is None and self._queue is None:
            self._turn.will_write(self)
            self._queue = [b""]

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

    def _time_out(self) -> None:
        self._owner.reader_too_slow()

    def _is_full(self, backlog: Backlog) -> bool:
        return backlog.behind > self._limits.max_outgoing_bytes

    def _judge(self, backlog: Backlog) -> None:
        """Too much waited in ``backlog``; it may have been read or dropped since."""
        backlog.accused = False
        if backlog is self._backlog and self._is_full(backlog):
            self._owner.reader_too_slow()


class Backlog:
    """What waits for room in one peer's kernel buffer; exists only while something
    does.

    ``head`` is being written and stays as it is (TLS wants the same bytes again); the
    write deadline judges how that goes. Behind it wait whole frames in order, whose
    bytes are bounded. One under a key is replaced in its place by the next one under
    that key: a reader who lags gets the newest value.
    """

    __slots__ = (
        "_frames",
        "_number",
        "_outbox",
        "_timer",
        "_watcher",
        "accused",
        "behind",
        "head",
    )

    def __init__(self, outbox: Outbox, transport: Transport, head: memoryview) -> None:
        self.head = head
        self.behind = 0  # bytes
        self.accused = False  # of being too large; the loop will see
        self._frames: OrderedDict[Hashable, bytes] = OrderedDict()
        self._number = 0  # key of the next frame that has none
        self._outbox = outbox
        loop = outbox._turn.loop
        self._watcher = loop.io(transport.fileno(), _WRITE)
        self._watcher.start(outbox._drain, self)
        patience = outbox._limits.write_timeout_s
        self._timer = loop.timer(patience, patience)
        self._timer.start(outbox._time_out)

    def add(self, frames: bytes, key: Hashable) -> bool:
        """Keep ``frames`` until there is room; True if they replace others."""
        if key is None:
            key = self._number
            self._number += 1
        replaced = self._frames.get(key, b"")
        self.behind += len(frames) - len(replaced)
        self._frames[key] = frames
        return bool(replaced)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return len(self.head) + self.behind

    def written(self, sent: int) -> bool:
        """The kernel took ``sent`` bytes of ``head``. True if nothing is left."""
        if sent:
            # Stopped and started, a timer of libev goes on with what time it had left.
            self._timer.again(self._outbox._time_out)
        self.head = self.head[sent:]
        if not self.head:
            self.head = self._next_head()
        return not self.head

    def discard_unsent(self) -> None:
        """Keep only what is being written."""
        self._frames.clear()
        self.behind = 0

    def close(self) -> None:
        """Stop waiting."""
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()

    def _next_head(self) -> memoryview:
        chunk: list[bytes] = []
        size = 0
        while self._frames and size < _CHUNK_BYTES:
            frames = self._frames.popitem(last=False)[1]
            chunk.append(frames)
            size += len(frames)
        self.behind -= size
        return memoryview(b"".join(chunk))
