"""Broadcasting from another program: a task, a cron job, a legacy app.

No Flask and no gevent here, so that it runs in a thread or under any server.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway import control
from gateway.cable.history import Retention, Retentions
from gateway.cable.publication import Publication
from gateway.pubsub.redis_publisher import RedisPublisher
from gateway.pubsub.redis_servers import servers_at

__all__ = ["Broadcaster"]


class Broadcaster:
    """Speaks to the clients of all gateways that share a Redis.

    >>> broadcaster = Broadcaster.from_url("redis://127.0.0.1:6379/0")
    >>> broadcaster.close()

    Keep one and use it again: it holds connections. Threads may share it.
    """

    def __init__(self, publisher: RedisPublisher) -> None:
        self._publisher = publisher

    @classmethod
    def from_url(
        cls,
        url: str,
        prefix: str = "",
        *,
        timeout_s: float = 2.0,
        retentions: Retentions | None = None,
    ) -> Broadcaster:
        """Use the Redis at ``url``, with the gateways' ``channel_prefix``.

        ``retentions`` say how much of which stream is kept, as the gateways' settings
        do; without them, as those do by default.

        Redis is waited for no longer than ``timeout_s``. Nothing is opened before the
        first broadcast; one that has to connect takes up to that again, in a program
        that gevent has not patched. ``url`` is as in ``config/cable.yml``.

        Raises:
            ConfigError: the URL cannot be read.
        """
        kept = retentions or Retentions(Retention())
        return cls(RedisPublisher(servers_at(url, timeout_s), prefix, kept))

    def broadcast(self, stream: str, message: Any, *, exclude: str = "") -> None:
        """Send ``message`` to every client that streams from ``stream``.

        ``exclude`` is the id of a connection that shall not hear it. If the connection
        to Redis breaks it is sent once more, and heard once all the same; only what has
        no history may then be heard twice.

        Raises:
            TypeError: JSON has no word for ``message``.
            PubSubError: Redis did not take it in time; it may be heard all the same.
            PublicationRefused: Redis said no to it.
        """
        publication = Publication(msgspec.json.encode(message), exclude)
        self._publisher.publish(stream, publication)

    def disconnect(self, *, reconnect: bool = True, **identifiers: Any) -> None:
        """Send all connections away that have these identifiers.

        Raises:
            LocalError: no identifier is given, or one has no name.
            PubSubError: Redis did not take it in time.
        """
        order = control.disconnect(identifiers, reconnect=reconnect)
        self._publisher.publish(control.CONTROL, order, retention=control.RETENTION)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._publisher.close()

    def __enter__(self) -> Broadcaster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
