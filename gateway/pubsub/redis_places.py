"""Which node of Redis hears which channel: one does, or in a cluster the slot's owner.

When slots move, or a node is gone, their channels are followed to wherever they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

import gevent

from gateway.pubsub.redis_listener import RedisListener
from gateway.pubsub.redis_servers import FAILURES, RedisServers

__all__ = ["RedisPlaces"]

logger = logging.getLogger("gateway.pubsub")

_RETRY_S = 0.1


class RedisPlaces:
    """The listeners, one for each node that serves a channel which somebody wants.

    ``deliver(channel, data)`` and ``resumed(channels)`` are as for a listener.
    """

    def __init__(
        self,
        servers: RedisServers,
        deliver: Callable[[bytes, bytes], None],
        resumed: Callable[[list[bytes]], None],
        timeout_s: float,
    ) -> None:
        self._servers = servers
        self._deliver = deliver
        self._resumed = resumed
        self._timeout_s = timeout_s
        self._listeners: dict[str, RedisListener] = {}  # by node
        self._places: dict[bytes, RedisListener] = {}  # by channel
        self._moving: set[bytes] = set()
        self._follower: gevent.Greenlet[..., None] | None = None
        self._closed = False

    @property
    def listeners(self) -> list[RedisListener]:
        """All there are."""
        return list(self._listeners.values())

    def subscribe(self, channel: bytes) -> None:
        """Begin to listen to a channel; waits only to learn where it is.

        Raises one of ``FAILURES`` if that cannot be learnt.
        """
        listener = self._places.get(channel) or self._find(channel)
        self._places[channel] = listener
        listener.subscribe(channel)

    def wait(self, channel: bytes, timeout_s: float) -> bool:
        """Wait until a channel is live, on whichever node it comes to be."""
        deadline = monotonic() + timeout_s
        while (left := deadline - monotonic()) > 0:
            listener = self._places.get(channel)
            if listener is None:
                return False
            if listener.wait(channel, min(left, _RETRY_S)):
                return True
        return False

    def error(self, channel: bytes) -> Exception | None:
        """Why a channel is not live, if that is known."""
        listener = self._places.get(channel)
        return None if listener is None else listener.error

    def unsubscribe(self, channel: bytes) -> None:
        """No longer listen to it."""
        listener = self._places.pop(channel, None)
        if listener is not None:
            listener.unsubscribe(channel)

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        if self._follower:
            self._follower.kill()
        for listener in self.listeners:
            listener.close()

    def _find(self, channel: bytes) -> RedisListener:
        """The listener on the node that serves a channel."""
        node = self._servers.place(channel)
        listener = self._listeners.get(node)
        if listener is None:
            listener = self._listeners[node] = RedisListener(
                lambda: self._servers.listening_connection(node),
                self._deliver,
                self._resumed,
                self._moved,
                self._timeout_s,
                sharded=self._servers.sharded,
            )
        return listener

    # In a cluster.

    def _moved(self, channels: list[bytes]) -> None:
        """These may be with another node now."""
        self._moving.update(channels)
        if self._moving and not self._follower and not self._closed:
            self._follower = gevent.spawn(self._follow_all)

    def _follow_all(self) -> None:
        said = False
        while self._moving:
            moving, self._moving = self._moving, set()
            try:
                self._servers.refresh()
                for channel in moving:
                    self._follow(channel)
            except FAILURES as exc:
                self._moving |= moving
                if not said:
                    logger.warning("the cluster is being rearranged: %s", exc)
                    said = True
            self._close_idle()
            gevent.sleep(_RETRY_S)  # it takes time until all nodes know

    def _follow(self, channel: bytes) -> None:
        """Listen to a channel where it is now, if somebody still wants it."""
        before = self._places.get(channel)
        if before is None:
            return
        now = self._find(channel)
        if now is not before or not now.wait(channel, 0):
            gap = before.forget(channel)
            self._places[channel] = now
            now.subscribe(channel, gap=gap)

    def _close_idle(self) -> None:
        """Nodes that serve nothing we want are perhaps no longer there."""
        for node, listener in list(self._listeners.items()):
            if not listener.channels:
                del self._listeners[node]
                listener.close()
