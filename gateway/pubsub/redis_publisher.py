"""Publishing to Redis: no gevent, no Flask; a thread or a cron job can use it."""

from __future__ import annotations

import secrets
from threading import Lock
from time import monotonic
from typing import Any

import msgspec
import redis

from gateway.cable.history import Retention, Retentions
from gateway.cable.publication import Publication
from gateway.errors import PublicationRefused, PubSubError
from gateway.pubsub import redis_scripts
from gateway.pubsub.bus import pack
from gateway.pubsub.redis_servers import FAILURES, RedisServers
from gateway.pubsub.redis_turns import Turns

__all__ = ["Keys", "RedisPublisher", "life_ms"]

_LEAST_LIFE_S = 86_400.0

_AT_ONCE = 50
"""Commands under way. More wait for their turn: redis-py would refuse the 101st."""


def life_ms(retention: Retention) -> int:
    """How long a stream's counter outlives its last message: ten times, or a day."""
    return int(max(10 * retention.seconds, _LEAST_LIFE_S) * 1000)


class Keys:
    """What a stream is called in Redis."""

    __slots__ = ("channel",)

    def __init__(self, stream: str, prefix: str, *, sharded: bool) -> None:
        name = f"{prefix}:{stream}" if prefix else stream
        if sharded:
            # Braces would put the channel and its keys into different slots.
            name = name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        self.channel = name.encode(errors="surrogatepass")

    def key(self, kind: bytes) -> bytes:
        """The key of something about the stream."""
        return b"{%b}:%b" % (self.channel, kind)

    @property
    def history(self) -> list[bytes]:
        """Its life and its log."""
        return [self.key(b"life"), self.key(b"log")]

    @property
    def presence(self) -> list[bytes]:
        """Who is present, as the scripts want it."""
        kinds = (b"sessions", b"member-of", b"members", b"counts")
        return [*map(self.key, kinds), self.channel]


class RedisPublisher:
    """Hands messages to Redis, each in the time that ``servers`` allow.

    Threads may share it. Without gevent's patches the time is that of each exchange
    with Redis, of which there is one on a connection that is open.
    """

    def __init__(
        self, servers: RedisServers, prefix: str, retentions: Retentions
    ) -> None:
        self.servers = servers
        self.turns = Turns(_AT_ONCE)
        """Who asks Redis something takes one, for as long as it asks."""
        self._prefix = prefix
        self._retentions = retentions
        self._making = Lock()
        self._known: Any = None
        self._script: Any = None

    @property
    def command(self) -> str:
        """By which command messages are published."""
        return "SPUBLISH" if self.servers.sharded else "PUBLISH"

    @property
    def client(self) -> Any:
        """redis-py's client. A cluster is asked where it is when it is first used."""
        if self._known is None:
            with self._making:
                if self._known is None:
                    known = self.servers.client()
                    self._script = known.register_script(redis_scripts.PUBLISH)
                    self._known = known
        return self._known

    def client_of(self, node: str) -> Any:
        """A client that asks one node only, as :meth:`RedisServers.place` calls it."""
        if not self.servers.sharded:
            return self.client
        return self.client.get_redis_connection(self.client.get_node(node_name=node))

    def keys(self, stream: str) -> Keys:
        """What a stream is called in Redis."""
        return Keys(stream, self._prefix, sharded=self.servers.sharded)

    def publish(
        self,
        stream: str,
        publication: Publication,
        name: str = "",
        *,
        again: bool = False,
        retention: Retention | None = None,
    ) -> None:
        """Publish to a stream; with an offset, if it has a history.

        If the connection breaks it is published once more, for it may have died while
        it was idle. With a history the message is still heard once; and so is one that
        the caller publishes ``again``, under the same ``name``. Without, it may be
        heard twice. ``retention`` says how much of the stream is kept, if not as of the
        others.

        Raises:
            PublicationRefused: Redis said no; says why.
            PubSubError: Redis did not take it in time; says where and why.
        """
        timeout_s = self.servers.timeout_s
        deadline = monotonic() + timeout_s
        message = (stream, publication, name or self.new_name())
        kept = retention or self._retentions.of(stream)
        what = f"{self.servers} did not take a message for {stream!r}"
        if not self.turns.take(timeout_s):
            raise PubSubError(f"{what} in {timeout_s} s: {_AT_ONCE} others wait")
        try:
            try:
                self._hand_over(*message, kept, again=again)
            except redis.ConnectionError:
                if monotonic() >= deadline:
                    raise
                self._hand_over(*message, kept, again=True)
        except FAILURES as exc:
            error = PublicationRefused if _is_final(exc) else PubSubError
            raise error(f"{what}: {exc}") from exc
        finally:
            self.turns.give_back()

    @staticmethod
    def new_name() -> str:
        """What a message may be known by."""
        return secrets.token_hex(8)

    def close(self) -> None:
        """Close the connections."""
        if self._known is not None:
            self._known.close()

    def _hand_over(
        self,
        stream: str,
        publication: Publication,
        name: str,
        retention: Retention,
        *,
        again: bool,
    ) -> None:
        client, keys = self.client, self.keys(stream)
        if publication.transient or not retention.is_kept:
            publish = client.spublish if self.servers.sharded else client.publish
            publish(keys.channel, pack(publication))
            return
        rest = ""
        if publication.exclude:
            rest = f',"exclude":{msgspec.json.encode(publication.exclude).decode()}'
        self._script(
            keys=[*keys.history, keys.channel],
            args=[
                publication.message,
                rest,
                retention.messages,
                int(retention.seconds * 1000),
                life_ms(retention),
                secrets.token_hex(4),
                self.command,
                name,
                int(again),
            ],
        )


def _is_final(exc: Exception) -> bool:
    """Whether Redis has said no for a reason that will not pass by itself."""
    passing = (
        redis.exceptions.ReadOnlyError,
        redis.exceptions.ClusterError,
        redis.exceptions.TryAgainError,
    )
    return (
        isinstance(exc, redis.ResponseError | redis.DataError)
        and not isinstance(exc, passing)
        and "READONLY" not in str(exc)  # within a script, Redis 6 calls it ERR
    )
