"""One turn of the event loop: what is sent in it is noted, and written at its end.

So each socket is written to once a turn, however much is said to it, and what goes to
the same readers is joined once for all of them. Writing to many takes several turns
(``round``).
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gevent import get_hub
from gevent.hub import Hub

from gateway.websocket.frames import Message
from gateway.websocket.round import Batch, Round

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
        self._large: deque[Batch | Round] = deque()
        self._round: tuple[Multicast, Round] | None = None  # under way
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
        """Deal the log out to the outboxes now, behind what a round has left to write.

        Called before anything that must come after it: a message to one socket, or a
        change of membership, since a member gets just what was sent while it was one.
        """
        if self._round is not None:
            (_, under_way), self._round = self._round, None
            fresh, self._fresh = self._fresh, []
            under_way.scatter()
            # They still come behind who has little to write.
            self._large.append(Batch(self._fresh))
            self._fresh = fresh
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
        idle = not self._large
        try:
            if not self._goes_round():
                self.settle()
        finally:
            self._scheduled = False  # only now, for settling asks for a turn, too
        fresh, self._fresh = self._fresh, []
        if len(fresh) > _SMALL:
            self._large.append(Batch(fresh))
        else:
            for outbox in fresh:
                outbox.flush()
        if self._large and idle:  # else a slice is due anyway
            if perf_counter() < until:
                self._write_slice()
            else:  # dealing out to so many was a stretch of its own
                self._slice.start(self._write_slice)

    def _goes_round(self) -> bool:
        """Add the log to a round, if all of it is for one crowd and no other has one.

        Two crowds may have members in common, who are to hear things in their order.
        """
        if len(self._log) != 1:
            return False
        ((multicast, messages),) = self._log
        if self._round is None:
            if len(multicast) <= _SMALL:
                return False
            crowd, under_way = multicast, multicast.new_round()
        else:
            crowd, under_way = self._round
            if crowd is not multicast:
                return False
        self._log = []
        under_way.add(messages)
        self.messages_out += len(messages) * len(multicast)
        if self._round is None:
            self._round = crowd, under_way
            self._large.append(under_way)
        return True

    def _write_slice(self) -> None:
        """Write for some milliseconds only: a fan-out to 15,000 takes over 100.

        The next slice is a timer's. gevent runs up to fifty callbacks before it lets
        the loop look at sockets again.
        """
        work, is_done = self._large.popleft(), False
        try:
            is_done = work.write(perf_counter() + _SLICE_S)
        finally:  # a bug in one reader's way must not keep the others from theirs
            if not is_done:
                self._large.append(work)
            elif self._round is not None and self._round[1] is work:
                self._round = None
            if self._large:
                self._slice.start(self._write_slice)
