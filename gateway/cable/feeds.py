"""How a stream's messages are given to readers who want them alike.

Readers are grouped by what goes around a message for them: a frame is made once for
each group, not for each reader. A plain feed passes every message on; one that
conflates (``conflation``) is for readers who care for the newest value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from gateway.cable import messages
from gateway.cable.publication import Publication

__all__ = [
    "PLAIN",
    "Audience",
    "Clock",
    "Conflate",
    "Envelope",
    "Feed",
    "Terms",
    "Timer",
]

Member = Any
"""What an audience holds: a feed only passes it on."""

Conflate = Literal["latest", "merge"]


class Audience(Protocol):
    """Readers that get the same bytes."""

    def __len__(self) -> int: ...

    def add(self, member: Member, /) -> None: ...

    def discard(self, member: Member, /) -> None: ...

    def send_text(
        self, payload: bytes, /, *, exclude: str = "", newest: bytes | None = None
    ) -> None:
        """Send to all but the one called ``exclude``.

        A reader that still has one with a ``newest`` from here unread gets, in its
        place, this ``newest`` instead of ``payload``.
        """


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time, as the cable sees it."""

    def now(self) -> float:
        """Seconds that only go forward."""

    def unix(self) -> float:
        """Seconds since 1970."""

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer: ...


class Terms(NamedTuple):
    """How a reader wants a stream's messages.

    >>> Terms(max_rate=10, conflate="merge").is_plain
    False
    """

    max_rate: float | None = None
    """Most messages in any second."""
    conflate: Conflate | None = None
    """What becomes of those in between: only the ``latest`` counts, or objects are
    ``merge``-d key by key (a key that is absent is unchanged). None: all are sent."""
    counted_as: str | None = None
    """The key under which objects tell how many messages had come by then, if any."""

    @property
    def is_plain(self) -> bool:
        return self.conflate is None


PLAIN = Terms()


class Envelope(NamedTuple):
    """What goes around a message; readers with the same one get the same frames."""

    identifier: str
    extended: bool = False
    """Whether the client wants to know each message's place in its stream."""
    presence: bool = False
    """Whether it follows who is present."""

    def wrap(self, message: bytes, ending: bytes) -> bytes:
        """The frame of a message; ``ending`` says its place, to those who want it."""
        end = ending if self.extended else b"}"
        return b"%b%b%b" % (messages.data_prefix(self.identifier), message, end)


class Group:
    """Readers of a feed under one envelope."""

    __slots__ = ("audience", "envelope", "prefix")

    def __init__(self, envelope: Envelope, audience: Audience) -> None:
        self.envelope = envelope
        self.prefix = messages.data_prefix(envelope.identifier)
        self.audience = audience


class Feed:
    """Passes every message on."""

    __slots__ = ("_new_audience", "groups", "stream")

    def __init__(self, stream: str, new_audience: Callable[[], Audience]) -> None:
        self.stream = stream
        self.groups: dict[Envelope, Group] = {}
        self._new_audience = new_audience

    def join(self, envelope: Envelope, member: Member) -> None:
        """From now on, in order, ``member`` gets what comes."""
        group = self.groups.get(envelope)
        if group is None:
            group = self.groups[envelope] = Group(envelope, self._new_audience())
        group.audience.add(member)

    def leave(self, envelope: Envelope, member: Member) -> None:
        """From now on it does not."""
        group = self.groups.get(envelope)
        if group is not None:
            group.audience.discard(member)
            if not len(group.audience):
                del self.groups[envelope]

    def deliver(self, publication: Publication) -> None:
        """Give a message to all readers."""
        message, exclude = publication.message, publication.exclude
        ending = messages.data_ending(self.stream, publication)
        for group in tuple(self.groups.values()):
            end = ending if group.envelope.extended else b"}"
            payload = b"%b%b%b" % (group.prefix, message, end)
            group.audience.send_text(payload, exclude=exclude)

    def tell(self, frame: Callable[[str], bytes], *, presence: bool = False) -> int:
        """Send a frame made for each identifier to those who speak the extended words.

        With ``presence``, only to those who follow it. Returns how many they are.
        """
        told = 0
        for group in tuple(self.groups.values()):
            envelope = group.envelope
            if envelope.presence if presence else envelope.extended:
                group.audience.send_text(frame(envelope.identifier))
                told += len(group.audience)
        return told
