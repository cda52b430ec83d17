"""What Redis keeps for us: the past of streams, and small things."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

from gateway.cable.history import Position, Recall, Retentions
from gateway.pubsub import redis_scripts
from gateway.pubsub.base import PROLONG_S
from gateway.pubsub.bus import unpack
from gateway.pubsub.redis_publisher import RedisPublisher, life_ms
from gateway.pubsub.redis_runner import Call, RedisRunner

__all__ = ["RedisStore"]

_UNUSED_MS = int(4 * PROLONG_S * 1000)
"""How long a place is kept of a stream to which nothing was published: anybody can
subscribe to any name."""


class RedisStore:
    """The past, and things under a key. All raise as :meth:`RedisRunner.ask` does."""

    def __init__(
        self,
        runner: RedisRunner,
        publisher: RedisPublisher,
        prefix: str,
        retentions: Retentions,
    ) -> None:
        self._runner = runner
        self._publisher = publisher
        self._prefix = prefix
        self._retentions = retentions

    def recall(self, stream: str) -> Recall | None:
        retention = self._retentions.of(stream)
        if not retention.is_kept:
            return None
        epoch, offset, now, *kept = self._runner.run(
            redis_scripts.RECALL,
            self._publisher.keys(stream).history,
            [
                life_ms(retention),
                _UNUSED_MS,
                retention.messages,
                secrets.token_hex(4),
            ],
        )
        horizon = float(now) - retention.seconds  # by Redis' clock, as their times are
        publications = [each for each in map(unpack, kept) if each.time >= horizon]
        return Recall(Position(epoch.decode(), int(offset)), publications)

    def renew(self, stream: str, epoch: str) -> None:
        keys = self._publisher.keys(stream).history
        self._runner.run(redis_scripts.RENEW, keys, [epoch, secrets.token_hex(4)])

    def prolong(self, streams: Iterable[str]) -> None:
        """What fails for some streams is logged, and harms no others."""
        failure = "Redis does not know that these are listened to"
        self._runner.run_all(redis_scripts.PROLONG, self._prolongings(streams), failure)

    def _prolongings(self, streams: Iterable[str]) -> Iterator[Call]:
        for stream in streams:
            life = life_ms(self._retentions.of(stream))
            keys = self._publisher.keys(stream).history[:1]
            yield Call(stream, keys, [life, _UNUSED_MS])

    def keep(self, key: str, value: bytes, seconds: float) -> None:
        name, life = self._name(key), int(seconds * 1000)
        self._runner.ask(lambda client: client.set(name, value, px=life))

    def take(self, key: str) -> bytes | None:
        name = self._name(key)
        value: bytes | None = self._runner.ask(lambda client: client.getdel(name))
        return value

    def _name(self, key: str) -> str:
        return f"{self._prefix}:gateway:{key}" if self._prefix else f"gateway:{key}"
