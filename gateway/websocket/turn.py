"""One turn of the event loop: what is sent in it is noted, and written at its end.

So each socket is written to once a turn, however much is said to it, and what goes to
the same readers is joined once for all of them.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub
from gevent.hub import Hub

from gateway.websocket.frames import Message

if TYPE_CHECKING:
    from gateway.websocket.multicast import Multicast
    from gateway.websocket.outbox import Outbox

__all__ = ["Turn"]

_SLICE_S = 0.004
"""Longest stretch of writing before the loop looks at other sockets again."""

_SMALL = 64
"""So few writes (echoes, confirmations) need not queue behind a large fan-out."""


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
        # Behind the sockets that have become readable in the same pass of the loop.
        loop: Any = hub.loop
        self._slice = loop.timer(0.0, priority=loop.MINPRI)

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
        until = perf_counter() + _SLICE_S
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
            if len(self._large) > 1:
                return  # a slice is due anyway
            if perf_counter() < until:
                self._write_slice()
            else:  # dealing out to so many was a stretch of its own
                self._slice.start(self._write_slice)

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
