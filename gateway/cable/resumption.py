"""For clients of the plain protocol, who cannot say how far they had come.

A channel that asks for ``replay_on_reconnect`` leaves a mark when a connection of
somebody known is lost: whose it was, what it was subscribed to, how far that had come.
Whoever comes back within a minute with the same identifiers and subscribes to the same
finds it and is told what came since, each message marked as ``replayed``.

The tabs of one person cannot be told apart, so all find the mark of the last that was
lost. A message may be one that the tab has seen; and one that was lost before another
tab was is not told what came between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from heapq import merge
from typing import TYPE_CHECKING

import msgspec

from gateway.cable import messages
from gateway.cable.history import Position
from gateway.cable.publication import Publication

if TYPE_CHECKING:
    from gateway.cable.channel import Channel
    from gateway.cable.subscription import Subscription

__all__ = ["Mark", "Replay", "find", "frames", "leave", "replay"]

Replay = int | timedelta
"""At most so many messages, or those not older than that."""

_MARK_S = 60.0
"""Rails' client is back within 28 seconds, if it can be."""


class Mark(msgspec.Struct, frozen=True):
    """How far the streams of a lost subscription had come."""

    places: dict[str, Position]
    until: float
    """When it is over, in Unix seconds."""


def leave(subscription: Subscription, places: dict[str, Position]) -> None:
    """Remember how far a lost subscription had come. May wait."""
    key = _key(subscription.channel)
    if key is not None:
        mark = Mark(places, subscription.now() + _MARK_S)
        subscription.backend.keep(key, msgspec.json.encode(mark), _MARK_S)


def find(subscription: Subscription) -> Mark | None:
    """The mark for somebody who is back; None for who was not here just now. May wait.

    It is left for others who may be back.
    """
    key, backend = _key(subscription.channel), subscription.backend
    found = None if key is None else backend.take(key)
    if key is None or found is None:
        return None
    mark = msgspec.json.decode(found, type=Mark)
    left = mark.until - subscription.now()
    if left <= 0:
        return None
    backend.keep(key, found, left)
    return mark


def replay(subscription: Subscription, mark: Mark) -> None:
    """Tell who is back what came behind its mark, as far as its channel wants that."""
    channel, past = subscription.channel, subscription.streams.behind(mark.places)
    wanted = channel.replay_on_reconnect or 0
    subscription.send(frames(channel.identifier, past, wanted, subscription.now()))


def frames(
    identifier: str,
    past: Iterable[list[Publication]],
    replay: Replay,
    now: float,
) -> list[bytes]:
    """What is told of ``past``, the messages of each stream in their order."""
    missed = list(merge(*past, key=lambda each: each.time))
    if isinstance(replay, timedelta):
        oldest = now - replay.total_seconds()
        missed = [each for each in missed if each.time >= oldest]
    else:
        missed = missed[len(missed) - min(replay, len(missed)) :]
    prefix = messages.data_prefix(identifier)
    return [b'%b%b,"replayed":true}' % (prefix, _marked(each)) for each in missed]


def _key(channel: Channel) -> str | None:
    """Whose mark it is; None if there is to be none, or nobody knows who they are."""
    words = channel.connection.words() if channel.replay_on_reconnect else {}
    if not words:
        return None
    return f"left:{msgspec.json.encode(words).decode()}:{channel.identifier}"


def _marked(publication: Publication) -> bytes:
    """Clients show the application the message only, so objects carry the mark, too."""
    value = messages.decode(publication.message)
    if not isinstance(value, dict):
        return publication.message
    return messages.encode({**value, "replayed": True})
