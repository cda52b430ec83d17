"""Messages between processes by Redis pub/sub (or Valkey's, or a cluster's)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Literal

import gevent
import redis as redis_py

from gateway.cable.history import Recall, Retention, Retentions
from gateway.cable.publication import Publication
from gateway.errors import ConfigError, PublicationRefused, PubSubError
from gateway.pubsub.base import Deliver, Health, PubSub, Resumed
from gateway.pubsub.bus import unpack
from gateway.pubsub.redis_places import RedisPlaces
from gateway.pubsub.redis_presence import RedisPresence
from gateway.pubsub.redis_publisher import RedisPublisher
from gateway.pubsub.redis_queue import RedisQueue, Waiting
from gateway.pubsub.redis_runner import RedisRunner
from gateway.pubsub.redis_servers import FAILURES, servers_at
from gateway.pubsub.redis_store import RedisStore

__all__ = ["RedisPubSub"]

logger = logging.getLogger("gateway.pubsub")


class RedisPubSub(PubSub):
    """One listener for all subscriptions (one per node in a cluster), one publisher.

    ``publish`` takes at most ``timeout_s``. When Redis does not take a message it
    raises, or with ``on_failure="queue"`` keeps up to ``max_queued`` messages and sends
    them, in order, when Redis is back.

    Needs gevent's patches: in a program that is not patched it would block the loop.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "",
        timeout_s: float = 2.0,
        on_failure: Literal["raise", "queue"] = "raise",
        max_queued: int = 10_000,
        retentions: Retentions | None = None,
    ) -> None:
        _check_patched()
        super().__init__(retentions or Retentions(Retention()))
        self._servers = servers_at(url, timeout_s)
        self._timeout_s = timeout_s
        self._publisher = RedisPublisher(self._servers, prefix, self.retentions)
        runner = RedisRunner(self._publisher, timeout_s)
        self._store = RedisStore(runner, self._publisher, prefix, self.retentions)
        self._presence = RedisPresence(runner, self._publisher)
        self._queue: RedisQueue | None = None
        if on_failure == "queue":
            self._queue = RedisQueue(self._publish, max_queued)
        self._places = RedisPlaces(self._servers, self._heard, self._resumed, timeout_s)
        self._streams: dict[bytes, str] = {}  # by channel
        self._deliver: Deliver | None = None
        self._on_resumed: Resumed | None = None

    def start(self, deliver: Deliver, resumed: Resumed) -> None:
        self._deliver = deliver
        self._on_resumed = resumed

    # Publishing.

    def publish(self, stream: str, publication: Publication) -> None:
        message = Waiting(stream, publication, self._publisher.new_name())
        if self._queue:
            self._queue.keep(message)
            return
        try:
            self._publish(message)
        except PublicationRefused:
            raise
        except PubSubError as exc:
            if self._queue is None:
                raise
            logger.warning("kept until Redis is back: %s", exc)
            self._queue.keep(message)

    def _publish(self, message: Waiting) -> None:
        late = PubSubError(
            f"{self._servers} did not take a message for {message.stream!r} "
            f"in {self._timeout_s} s"
        )
        again, message.tried = message.tried, True
        with gevent.Timeout(self._timeout_s, late):
            self._publisher.publish(
                message.stream, message.publication, message.name, again=again
            )

    # Listening.

    def subscribe(self, stream: str) -> None:
        channel = self._publisher.keys(stream).channel
        self._streams[channel] = stream
        try:
            self._places.subscribe(channel)
        except FAILURES as exc:
            self._streams.pop(channel, None)
            raise PubSubError(
                f"{self._servers} is not there to subscribe to {stream!r}: {exc}"
            ) from exc
        if not self._places.wait(channel, self._timeout_s):
            error = self._places.error(channel)
            why = f": {error}" if error else ""
            raise PubSubError(
                f"{self._servers} did not confirm a subscription to {stream!r} "
                f"in {self._timeout_s} s{why}"
            )

    def unsubscribe(self, stream: str) -> None:
        channel = self._publisher.keys(stream).channel
        self._streams.pop(channel, None)
        self._places.unsubscribe(channel)

    # What it keeps.

    def recall(self, stream: str) -> Recall | None:
        return self._store.recall(stream)

    def renew(self, stream: str, epoch: str) -> None:
        self._store.renew(stream, epoch)

    def prolong(self, streams: Iterable[str]) -> None:
        self._store.prolong(streams)

    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        self._presence.join(stream, member, session, about)

    def leave(self, stream: str, session: str) -> None:
        self._presence.leave(stream, session)

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        return self._presence.touch(sessions)

    def present(self, stream: str) -> dict[str, Any]:
        return self._presence.present(stream)

    def keep(self, key: str, value: bytes, seconds: float) -> None:
        self._store.keep(key, value, seconds)

    def take(self, key: str) -> bytes | None:
        return self._store.take(key)

    def health(self) -> Health:
        listeners = self._places.listeners
        return Health(
            up=all(listener.up for listener in listeners),
            lag_s=max((listener.lag_s for listener in listeners), default=0.0),
            reconnects=sum(max(0, each.reconnects - 1) for each in listeners),
            queued=len(self._queue or ()),
        )

    def close(self) -> None:
        self._deliver = None
        self._places.close()
        if self._queue is not None:
            self._queue.close(self._timeout_s)
        self._publisher.close()

    # What the listeners say.

    def _heard(self, channel: bytes, data: bytes) -> None:
        stream = self._streams.get(channel)
        if stream is not None and self._deliver is not None:
            self._deliver(stream, unpack(data))

    def _resumed(self, channels: list[bytes]) -> None:
        """After a gap: what was lost in it can be read back."""
        streams = [self._streams[c] for c in channels if c in self._streams]
        if self._on_resumed is not None:
            self._on_resumed(streams)


def _check_patched() -> None:
    if getattr(redis_py.retry, "sleep", None) is not gevent.sleep:
        raise ConfigError(
            "adapter",
            "redis",
            "redis was imported before gevent patched the standard library, so that it "
            "would block every client: put `from gevent import monkey; "
            "monkey.patch_all()` first in wsgi.py and config/gunicorn.py",
        )
