"""Connections that are no WebSockets yet: nobody knows whether they ever will be.

Each costs a file descriptor and a greenlet before it has said what it wants, so whoever
opens many and says nothing could keep everybody else out. There is room for so many;
one address gets no more of them than it leaves to others.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sized
from typing import Any

import gevent
from gevent import getcurrent

from gateway.websocket.admission import descriptors, network_of
from gateway.websocket.limits import Limits

__all__ = ["Lobby"]

logger = logging.getLogger("gateway.websocket")

_LAST_WORDS_S = 1.0


class Lobby:
    """Who waits in it, by the greenlet that reads their request.

    Without ``limits.max_handshakes`` there is room for as many as there are file
    descriptors left by the open ``sockets``.
    """

    def __init__(self, limits: Limits, sockets: Sized, refused: Counter[str]) -> None:
        self._max = limits.max_handshakes
        self._sockets = sockets
        self._refused = refused
        self._waiting: dict[Any, str] = {}  # greenlets, and whom they read
        self._by_network: Counter[str] = Counter()
        self._is_open = True

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, address: str) -> bool:
        """This greenlet begins to read from ``address``; False if there is no room."""
        if not self._is_open:
            return False
        network = network_of(address)
        room = self._max or descriptors() - len(self._sockets)
        if self._by_network[network] >= room - len(self):
            self._refused["max_handshakes"] += 1
            logger.info(
                "refused %s: max_handshakes: %d wait already, %d of them from there",
                address or "a unix socket",
                len(self),
                self._by_network[network],
            )
            return False
        self._waiting[getcurrent()] = network
        self._by_network[network] += 1
        return True

    def leave(self) -> None:
        """This greenlet reads no request any more; again is harmless."""
        network = self._waiting.pop(getcurrent(), None)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    def close(self) -> None:
        """Send away all who are in it, and let nobody in."""
        self._is_open = False
        gevent.killall(list(self._waiting), timeout=_LAST_WORDS_S)
