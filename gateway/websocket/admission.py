"""Who may come in: how many sockets there may be, and how many of one address.

A place is taken before the program decides about a request, since it may wait for its
database meanwhile, and others ask. Whoever opens no socket in the end gives it back.
"""

from __future__ import annotations

import logging
import resource
import sys
from collections import Counter
from collections.abc import Sized
from ipaddress import IPv4Address, ip_address, ip_network

from gateway.errors import HandshakeRefused
from gateway.websocket.limits import Limits

__all__ = ["Admission", "Places", "descriptors", "network_of"]

logger = logging.getLogger("gateway.websocket")

_RESERVED = 64
"""File descriptors that are not for sockets: logs, pipes, the broker, new requests."""


class Admission:
    """A place for one socket, until that opens or the place is given back."""

    __slots__ = ("_network", "_pending", "_places")

    def __init__(self, places: Places, network: str | None) -> None:
        self._places = places
        self._network = network
        self._pending = True

    def use(self) -> str | None:
        """The socket is there. Returns what to name to :meth:`Places.leave` later."""
        assert self._pending
        self._pending = False
        self._places.pending -= 1
        return self._network

    def release(self) -> None:
        """No socket has come of it. Again, or when one has, is harmless."""
        if self._pending:
            self._places.leave(self.use())


class Places:
    """The places of one endpoint, whose open ``sockets`` are counted too."""

    def __init__(self, limits: Limits, sockets: Sized) -> None:
        self.max_sockets = limits.max_sockets or descriptors()
        self.pending = 0  # places that are taken by no socket yet
        self.refused: Counter[str] = Counter()  # by the limit's name
        self.by_address: Counter[str] = Counter()
        self._max_per_address = limits.max_sockets_per_address
        self._sockets = sockets

    @property
    def room(self) -> float:
        """Which part of the places is left."""
        return 1 - (len(self._sockets) + self.pending) / self.max_sockets

    def take(self, address: str) -> Admission:
        """A place for a socket from ``address``.

        Raises:
            HandshakeRefused: with 503 if there is none for anybody, with 429 if not for
                this address.
        """
        if len(self._sockets) + self.pending >= self.max_sockets:
            self._refuse("max_sockets", self.max_sockets, address)
            raise HandshakeRefused(503, "This server is full.", [("Retry-After", "5")])
        network = None
        if self._max_per_address is not None:
            network = network_of(address)
            if self.by_address[network] >= self._max_per_address:
                self._refuse("max_sockets_per_address", self._max_per_address, address)
                raise HandshakeRefused(
                    429, "Too many sockets from this address.", [("Retry-After", "5")]
                )
            self.by_address[network] += 1
        self.pending += 1
        return Admission(self, network)

    def leave(self, network: str | None) -> None:
        """A socket that was counted under ``network`` is gone."""
        if network is not None:
            self.by_address[network] -= 1
            if not self.by_address[network]:
                del self.by_address[network]

    def _refuse(self, limit: str, bound: int, address: str) -> None:
        self.refused[limit] += 1
        logger.warning("refused %s: %s = %d sockets are open", address, limit, bound)


def descriptors() -> int:
    """As many sockets as there are descriptors, save some for files and requests."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft - _RESERVED, 1)


def network_of(address: str) -> str:
    """One customer has one IPv4 address, but a whole IPv6 /64."""
    try:
        ip = ip_address(address)
    except ValueError:  # a unix socket has none
        return address
    if isinstance(ip, IPv4Address):
        return address
    if ip.ipv4_mapped is not None:  # as a listener for both kinds sees IPv4
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))
