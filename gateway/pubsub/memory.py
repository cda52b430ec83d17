"""The adapter for a single process: no broker, nothing to install."""

from __future__ import annotations

import secrets
from collections import deque
from itertools import count
from time import time
from typing import Any

from gevent import get_hub
from gevent._hub_local import get_hub_if_exists
from gevent._threading import Lock
from gevent.hub import Hub

from gateway.cable.history import Position, Recall, Retention, Retentions, Ring
from gateway.cable.presence import PresenceSet
from gateway.cable.publication import Publication
from gateway.pubsub.base import Deliver, PubSub, Resumed

__all__ = ["MemoryPubSub"]

_PLACE_KEPT = 10
"""A stream's place is kept so many times longer than its messages."""

_OTHERS = 2
_AFTER_MESSAGES = 8
"""With each new stream so many others are looked after, and one after so many messages:
each is cold, and costs as much as a tenth of publishing."""

_CLEARING_S = 10.0
"""So often we look for small things that are over, while new ones come."""


class MemoryPubSub(PubSub):
    """Hands what is published straight to this process's readers.

    >>> pubsub = MemoryPubSub()
    >>> pubsub.start(lambda stream, p: print(stream, p.message, p.offset), print)
    >>> pubsub.subscribe("chat_1")
    >>> pubsub.publish("chat_1", Publication(b'"hello"'))
    chat_1 b'"hello"' 1
    """

    shared = False

    def __init__(self, retentions: Retentions | None = None) -> None:
        super().__init__(retentions or Retentions(Retention()))
        self._streams: set[str] = set()
        self._deliver: Deliver | None = None
        self._hub: Hub | None = None
        # Threads publish, too. A lock between them, not between greenlets: nobody
        # waits while holding it.
        self._past = Lock()
        self._rings: dict[str, Ring] = {}
        self._used: dict[str, float] = {}  # when it was left last, or seen in use
        # Of streams whose messages are over: how far they had come, kept until when.
        self._places: dict[str, tuple[Position, float]] = {}
        self._in_turn: deque[str] = deque()  # all of them, as they are looked after
        self._messages = count(1)
        self._present: dict[str, PresenceSet] = {}
        self._things: dict[str, tuple[float, bytes]] = {}
        self._cleared = 0.0

    def start(self, deliver: Deliver, resumed: Resumed) -> None:
        self._deliver = deliver
        self._hub = get_hub()

    def publish(self, stream: str, publication: Publication) -> None:
        retention = self.retentions.of(stream)
        if retention.is_kept and not publication.transient:
            with self._past:
                publication = self._append(stream, publication)
        if self._hub is None:
            return
        if get_hub_if_exists() is self._hub:
            self._hand_over(stream, publication)
        else:  # a thread of the program: the sockets belong to the loop's
            loop = self._hub.loop
            loop.run_callback_threadsafe(self._hand_over, stream, publication)

    def subscribe(self, stream: str) -> None:
        self._streams.add(stream)

    def unsubscribe(self, stream: str) -> None:
        self._streams.discard(stream)
        with self._past:
            if stream in self._rings:
                self._used[stream] = time()

    def close(self) -> None:
        self._streams.clear()
        self._deliver = None

    # The past.

    def recall(self, stream: str) -> Recall | None:
        if not self.retentions.of(stream).is_kept:
            return None
        with self._past:
            ring = self._ring(stream)
            return Recall(ring.position, ring.all(time()))

    def renew(self, stream: str, epoch: str) -> None:
        with self._past:
            ring = self._rings.get(stream)
            if ring is not None and ring.position.epoch == epoch:
                self._rings[stream] = self._new_ring(stream)

    def _append(self, stream: str, publication: Publication) -> Publication:
        now = time()
        if not next(self._messages) % _AFTER_MESSAGES:
            self._look_after_others(1, now)
        ring = self._ring(stream)
        epoch, offset = ring.position
        placed = publication._replace(epoch=epoch, offset=offset + 1, time=now)
        ring.append(placed)
        return placed

    def _ring(self, stream: str) -> Ring:
        ring = self._rings.get(stream)
        if ring is None:
            now = time()
            self._look_after_others(_OTHERS, now)
            position, _ = self._places.pop(stream, (None, 0.0))
            if position is None:
                self._in_turn.append(stream)
            ring = self._rings[stream] = self._new_ring(stream, position)
            self._used[stream] = now
        return ring

    def _new_ring(self, stream: str, position: Position | None = None) -> Ring:
        position = position or Position(secrets.token_hex(4), 0)
        return Ring(position, self.retentions.of(stream))

    def _look_after_others(self, number: int, now: float) -> None:
        """A few at a time, so that nobody waits for all of them."""
        for _ in range(min(number, len(self._in_turn))):
            stream = self._in_turn.popleft()
            if self._is_kept(stream, now):
                self._in_turn.append(stream)

    def _is_kept(self, stream: str, now: float) -> bool:
        """Forget what is over of a stream; False if nothing is left of it."""
        ring = self._rings.get(stream)
        if ring is None:
            _, until = self._places.get(stream, (None, 0.0))
            if until < now:
                self._places.pop(stream, None)
            return until >= now
        if ring.last is not None:
            self._used[stream] = max(self._used[stream], ring.last.time)
        ring.expire(now)
        seconds = self.retentions.of(stream).seconds
        if stream not in self._streams and self._used[stream] < now - seconds:
            del self._rings[stream]
            until = self._used.pop(stream) + _PLACE_KEPT * seconds
            self._places[stream] = (ring.position, until)
        return True

    # Who is present.

    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        present = self._present.setdefault(stream, PresenceSet())
        for event in present.join(member, session, about, time()):
            self._tell(stream, event)

    def leave(self, stream: str, session: str) -> None:
        present = self._present.get(stream)
        if present is not None:
            self._tell(stream, present.leave(session))
            self._forget_empty(stream)

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        now = time()
        unknown: dict[str, list[str]] = {}
        for stream, names in sessions.items():
            present = self._present.get(stream, PresenceSet())
            strangers = [name for name in names if not present.touch(name, now)]
            if strangers:
                unknown[stream] = strangers
        for stream in list(self._present):
            self._end_silent(stream, now)
        return unknown

    def present(self, stream: str) -> dict[str, Any]:
        self._end_silent(stream, time())
        present = self._present.get(stream)
        return {} if present is None else dict(present.members)

    def _end_silent(self, stream: str, now: float) -> None:
        """End the sessions that nobody has heard of for long."""
        present = self._present.get(stream)
        if present is not None:
            for event in present.expire(now):
                self._tell(stream, event)
            self._forget_empty(stream)

    def _tell(self, stream: str, event: bytes | None) -> None:
        if event is not None:
            self.publish(stream, Publication(event, transient=True, presence=True))

    def _forget_empty(self, stream: str) -> None:
        if not self._present[stream].members:
            del self._present[stream]

    # Small things.

    def keep(self, key: str, value: bytes, seconds: float) -> None:
        now = time()
        if now >= self._cleared + _CLEARING_S:
            self._clear(now)
        self._things[key] = (now + seconds, value)

    def take(self, key: str) -> bytes | None:
        until, value = self._things.pop(key, (0.0, b""))
        return value if until >= time() else None

    def _clear(self, now: float) -> None:
        self._cleared = now
        for key, (until, _) in list(self._things.items()):
            if until < now:
                del self._things[key]

    def _hand_over(self, stream: str, publication: Publication) -> None:
        if stream in self._streams and self._deliver is not None:
            self._deliver(stream, publication)
