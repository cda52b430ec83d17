"""What every adapter does, and what it promises.

An adapter carries publications between processes, by stream. It promises order per
stream and publisher. It calls ``deliver(stream, publication)`` in the thread of the
event loop, for streams that are subscribed to, and ``deliver`` never waits.

It also keeps what must outlive a connection or a process: the recent past of streams,
who is present on them, and small things under a key. All of that may wait for a broker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gateway.cable.history import Recall, Retentions
from gateway.cable.publication import Publication

__all__ = ["PROLONG_S", "Deliver", "Health", "PubSub", "Resumed"]

PROLONG_S = 900.0
"""How often a process says which streams are listened to."""

Deliver = Callable[[str, Publication], None]

Resumed = Callable[[list[str]], None]
"""Told the streams of which messages may have been lost on the way here. May wait."""


class Health(NamedTuple):
    """How an adapter is."""

    up: bool = True
    """Whether the broker answers; a process whose broker does not is not ready."""
    lag_s: float = 0.0
    """How long it took to answer, the last time it was asked."""
    reconnects: int = 0
    queued: int = 0
    """Messages that wait for it to come back."""


class PubSub(ABC):
    """The interface of an adapter. All methods may be called from any greenlet.

    ``shared`` tells whether other processes hear what is published here. Whatever asks
    the broker raises :exc:`PubSubError` if it does not answer in time.

    A constructor is given those of ``url``, ``prefix``, ``timeout_s``, ``on_failure``,
    ``max_queued`` and ``retentions`` that it has parameters for.
    """

    shared: bool = False

    def __init__(self, retentions: Retentions) -> None:
        self.retentions = retentions

    @abstractmethod
    def start(self, deliver: Deliver, resumed: Resumed) -> None:
        """Begin to deliver. Called once, in the process that serves."""

    @abstractmethod
    def publish(self, stream: str, publication: Publication) -> None:
        """Send it to all who are subscribed to ``stream``, in every process.

        If the stream has a history and it is not transient, it gets an offset first.
        """

    @abstractmethod
    def subscribe(self, stream: str) -> None:
        """Return when messages published to ``stream`` from now on reach us.

        Calling it again while subscribed is harmless.
        """

    @abstractmethod
    def unsubscribe(self, stream: str) -> None:
        """Messages of ``stream`` are no longer wanted. Does not wait."""

    def health(self) -> Health:
        """How it is."""
        return Health()

    @abstractmethod
    def close(self) -> None:
        """Stop delivering and free everything."""

    # The past.

    @abstractmethod
    def recall(self, stream: str) -> Recall | None:
        """What is kept of a stream; None if it has no history."""

    @abstractmethod
    def renew(self, stream: str, epoch: str) -> None:
        """End this epoch of a stream, if it has not ended already."""

    def prolong(self, streams: Iterable[str]) -> None:
        """These are listened to: keep their place, though nothing is published."""
        return None

    # Who is present.

    @abstractmethod
    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        """A session is there as ``member``; a new member is published as an event."""

    @abstractmethod
    def leave(self, stream: str, session: str) -> None:
        """A session is gone; if it was its member's last, that is published."""

    @abstractmethod
    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        """These sessions, by stream, are still there; end those nobody hears of.

        Returns those that are not known (any longer): they are to join again.
        """

    @abstractmethod
    def present(self, stream: str) -> dict[str, Any]:
        """The members of a stream, and what is known about them."""

    # Small things.

    @abstractmethod
    def keep(self, key: str, value: bytes, seconds: float) -> None:
        """Keep ``value`` for so long, where every process finds it."""

    @abstractmethod
    def take(self, key: str) -> bytes | None:
        """Take it, so that nobody else can."""
