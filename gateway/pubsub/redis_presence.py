"""Who is present, in Redis, for all processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.cable import presence
from gateway.cable.publication import Publication
from gateway.pubsub import redis_scripts
from gateway.pubsub.bus import pack
from gateway.pubsub.redis_publisher import RedisPublisher
from gateway.pubsub.redis_runner import Call, RedisRunner

__all__ = ["RedisPresence"]

_KEEP_MS = 3_600_000
"""How long we keep who was present on a stream that no process tells of."""

_SESSIONS_AT_ONCE = 500
"""So many sessions of a stream are touched in one call; Redis does nothing else."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RedisPresence:
    """The presence of streams. What concerns one stream alone is one script."""

    def __init__(self, runner: RedisRunner, publisher: RedisPublisher) -> None:
        self._runner = runner
        self._publisher = publisher

    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        event = Publication(
            presence.joined(member, about), transient=True, presence=True
        )
        self._run(
            redis_scripts.JOIN,
            stream,
            [member, session, _encode(about), pack(event), _linger_ms(), _KEEP_MS],
        )

    def leave(self, stream: str, session: str) -> None:
        self._run(redis_scripts.LEAVE, stream, [session])

    def present(self, stream: str) -> dict[str, Any]:
        answer = self._run(redis_scripts.PRESENT, stream, [])
        members = zip(answer[::2], answer[1::2], strict=True)
        return {member.decode(): _decode(about) for member, about in members}

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        """What fails for some streams is logged, and harms no others."""
        unknown: dict[str, list[str]] = {}
        failure = "Redis does not know who is still there"
        for call, names in self._runner.run_all(
            redis_scripts.TOUCH, self._touches(sessions), failure
        ):
            if names:
                unknown.setdefault(call.stream, []).extend(map(bytes.decode, names))
        return unknown

    def _touches(self, sessions: dict[str, list[str]]) -> Iterator[Call]:
        for stream, names in sessions.items():
            keys = self._publisher.keys(stream).presence
            for start in range(0, len(names) or 1, _SESSIONS_AT_ONCE):
                end = start + _SESSIONS_AT_ONCE
                are_all = int(end >= len(names))
                about = [self._publisher.command, _linger_ms(), _KEEP_MS, are_all]
                yield Call(stream, keys, [*about, *names[start:end]])

    def _run(self, script: str, stream: str, arguments: list[Any]) -> Any:
        keys = self._publisher.keys(stream).presence
        return self._runner.run(script, keys, [self._publisher.command, *arguments])


def _linger_ms() -> int:
    return int(presence.LINGER_S * 1000)
