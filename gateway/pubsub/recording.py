"""The adapter for tests: as in memory, and everything that is published is kept."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from gateway.cable.history import Retentions
from gateway.cable.publication import Publication
from gateway.pubsub.base import Deliver
from gateway.pubsub.memory import MemoryPubSub

__all__ = ["RecordingPubSub"]


class RecordingPubSub(MemoryPubSub):
    """``broadcasts`` holds what was published, decoded, by stream; who comes and goes
    is not among it. ``listeners`` are told each message, too.

    >>> pubsub = RecordingPubSub()
    >>> pubsub.publish("chat_1", Publication(b'"hello"'))
    >>> pubsub.broadcasts["chat_1"]
    ['hello']
    """

    def __init__(self, retentions: Retentions | None = None) -> None:
        super().__init__(retentions)
        self.broadcasts: defaultdict[str, list[Any]] = defaultdict(list)
        self.listeners: list[Deliver] = []

    def publish(self, stream: str, publication: Publication) -> None:
        if not publication.presence:
            self.broadcasts[stream].append(msgspec.json.decode(publication.message))
        super().publish(stream, publication)
        for listener in list(self.listeners):
            listener(stream, publication)
