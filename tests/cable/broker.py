"""A broker in memory that loses, delays and forgets when a test says so."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from gateway.cable.history import Position, Recall, Retention, Retentions, Ring
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.base import Deliver, Resumed
from gateway.pubsub.memory import MemoryPubSub

__all__ = ["Broker"]


class Broker(MemoryPubSub):
    """Keeps ``kept`` messages of each stream."""

    def __init__(self, kept: int = 100) -> None:
        super().__init__(Retentions(Retention(kept)))
        self.deaf = False
        """What is published is kept, but does not arrive."""
        self.away = False
        """Nothing is answered."""
        self.broken: dict[str, Exception] = {}
        """What is raised when the past of these streams is asked for."""
        self.asked = 0
        self.recalled = 0
        self.while_asked: list[Callable[[], object]] = []
        """Done between an answer of :meth:`recall` and its arrival, one each time."""

    def start(self, deliver: Deliver, resumed: Resumed) -> None:
        super().start(deliver, resumed)
        self.deliver = deliver

    def say(self, stream: str, *messages: object) -> None:
        """Publish some messages: anything that prints as JSON."""
        for message in messages:
            self.publish(stream, Publication(str(message).encode()))

    def lose(self, stream: str, *messages: object) -> None:
        """Publish messages that do not arrive."""
        self.deaf = True
        self.say(stream, *messages)
        self.deaf = False

    def subscribe(self, stream: str) -> None:
        self._ask()
        super().subscribe(stream)

    def recall(self, stream: str) -> Recall | None:
        self._ask()
        self.recalled += 1
        answer = super().recall(stream)
        if self.while_asked:
            self.while_asked.pop(0)()
        if stream in self.broken:
            raise self.broken[stream]
        return answer

    def renew(self, stream: str, epoch: str) -> None:
        if self._ring(stream).position.epoch == epoch:
            self.flush(stream)

    def position(self, stream: str) -> Position:
        """How far the stream has come in the store."""
        return self._ring(stream).position

    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        self._ask()
        super().join(stream, member, session, about)

    def leave(self, stream: str, session: str) -> None:
        self._ask()
        super().leave(stream, session)

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        self._ask()
        return super().touch(sessions)

    def present(self, stream: str) -> dict[str, Any]:
        self._ask()
        return super().present(stream)

    def flush(self, stream: str) -> None:
        """Forget the stream: what comes next is of another life."""
        position = Position(secrets.token_hex(4), 0)
        self._rings[stream] = Ring(position, self.retentions.of(stream))

    def go_back(self, stream: str, count: int) -> None:
        """Forget the last messages, as a replica that becomes master too early."""
        ring = self._ring(stream)
        kept = ring.all(0.0)
        left = kept[: len(kept) - count]
        position = Position(ring.position.epoch, ring.position.offset - count)
        self._rings[stream] = Ring(position, self.retentions.of(stream), left)

    def kept(self, stream: str) -> list[Publication]:
        """What the store has kept of a stream."""
        return self._ring(stream).all(0.0)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise PubSubError("the broker is away")

    def _hand_over(self, stream: str, publication: Publication) -> None:
        if not self.deaf:
            super()._hand_over(stream, publication)
