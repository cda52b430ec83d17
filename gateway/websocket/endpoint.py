"""What all sockets of one server, or of one program's clients, share."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from gevent.event import Event

from gateway.errors import LocalError
from gateway.reasons import SERVER_RESTART, CloseReason
from gateway.websocket.admission import Admission, Places
from gateway.websocket.heartbeat import Wheel
from gateway.websocket.inbox import Inbox
from gateway.websocket.inflate import Inflater
from gateway.websocket.limits import Limits, check_seconds
from gateway.websocket.turn import Turn
from gateway.websocket.workers import Workers

if TYPE_CHECKING:
    from gateway.websocket.socket import WebSocket

__all__ = ["Endpoint"]

SpareInbox = tuple[Callable[[], Inflater] | None, Inbox | None]
"""An idle inbox, and what its inflater was made by: for the next socket that reads."""


_PING_TIMEOUT_S = 20.0


class Endpoint:
    """Limits, heartbeat, worker greenlets and counters of a group of open sockets.

    ``ping_interval_s`` is how often each peer is sent an RFC 6455 Ping, None for never;
    one that has sent nothing at all ``ping_timeout_s`` later is closed (``no_pong``).
    That is 20, or the interval if it is shorter; it cannot be longer.

    Raises:
        LocalError: these are no such seconds.

    >>> endpoint = Endpoint(ping_interval_s=None)
    >>> len(endpoint.sockets)
    0
    >>> endpoint.stop()
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        ping_interval_s: float | None = 25.0,
        ping_timeout_s: float | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.turn = Turn.current()
        self.workers = Workers()
        self.sockets: set[WebSocket] = set()
        self.spare_inbox: SpareInbox = (None, None)
        self.messages_in = 0
        self.opened = 0
        self.closed: Counter[str] = Counter()  # by the reason's name
        self.places = Places(self.limits, self.sockets)
        self.refused = self.places.refused  # by the limit's name
        self._wheel: Wheel[set[WebSocket]] | None = None
        if ping_interval_s is not None:
            check_seconds("ping_interval_s", ping_interval_s)
            if ping_timeout_s is None:
                ping_timeout_s = min(ping_interval_s, _PING_TIMEOUT_S)
            check_seconds("ping_timeout_s", ping_timeout_s)
            if ping_timeout_s > ping_interval_s:
                raise LocalError(
                    f"ping_timeout_s = {ping_timeout_s!r} cannot be used: the next "
                    f"ping would come before, after {ping_interval_s!r} s"
                )
            self._wheel = Wheel[set["WebSocket"]](
                ping_interval_s, set, _beat, _check, ping_timeout_s
            )

    def admit(self, address: str) -> Admission:
        """A place for one more socket, from ``address``.

        The socket that opens uses it; who opens none has to ``release()`` it.

        Raises:
            HandshakeRefused: with 503 if there is none for anybody, with 429 if not for
                this address.
        """
        return self.places.take(address)

    def add(self, ws: WebSocket) -> set[WebSocket] | None:
        """``ws`` has opened. Returns the heartbeat slot it is now in."""
        self.sockets.add(ws)
        self.opened += 1
        if self._wheel is None:
            return None
        self._wheel.start()
        slot = self._wheel.next_slot()
        slot.add(ws)
        return slot

    def remove(self, ws: WebSocket, reason: CloseReason, network: str | None) -> None:
        """``ws``, whose admission said ``network``, is gone."""
        self.sockets.discard(ws)
        self.places.leave(network)
        self.closed[reason.name] += 1

    def close_all(
        self,
        reason: CloseReason = SERVER_RESTART,
        *,
        spread_s: float = 0.0,
        hurry: Event | None = None,
        others: Iterable[Callable[[CloseReason], object]] = (),
    ) -> None:
        """Close all sockets, in random order spread over some seconds; then return.

        The first goes at once, and behind the last there is no pause. Once ``hurry`` is
        set, the rest goes at once. ``others`` close what is no WebSocket, but shall go
        with them.

        Peers then have ``limits.close_timeout_s`` to answer; :meth:`stop` does not
        wait.
        """
        hurry = hurry or Event()
        closing = [*(ws.start_close for ws in self.sockets), *others]
        random.shuffle(closing)
        pause = spread_s / len(closing) if closing else 0.0
        for number, close in enumerate(closing):
            if number and pause and hurry.wait(pause):
                pause = 0.0
            close(reason)

    def wait_closed(self, timeout: float | None) -> bool:
        """Wait until no socket is open; False if some still are after ``timeout`` s."""
        deadline = None if timeout is None else monotonic() + timeout
        for ws in list(self.sockets):
            left = None if deadline is None else max(0.0, deadline - monotonic())
            ws.wait_closed(left)
        return not self.sockets

    def stop(self, timeout: float | None = 1.0) -> None:
        """Drop what is still open and end the timer and all worker greenlets."""
        if self._wheel is not None:
            self._wheel.stop()
        for ws in list(self.sockets):
            ws.abort()
        self.workers.stop(timeout)


def _beat(slot: set[WebSocket]) -> None:
    for ws in list(slot):
        ws.heartbeat()


def _check(slot: set[WebSocket]) -> None:
    for ws in list(slot):
        ws.check_heartbeat()
