"""Who hears which stream in this process, and that they hear all of it, in order.

For a stream with a history the hub keeps the recent past in a ring, filled from the
backend when the stream is opened and by what comes since. A message that does not
follow on the last one shows a gap: what is missing is read back before anything newer
is given to anybody. Readers that were away are served from the ring, without asking
anyone, so that between what they missed and what comes live nothing can slip in, or
out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Any, Protocol

from gateway.cable import messages
from gateway.cable.feeds import Audience, Clock, Timer
from gateway.cable.history import Position, Recall, Retentions, Ring
from gateway.cable.publication import Publication
from gateway.cable.stream import FirstReading, Gate, Stream, Surroundings
from gateway.cable.tracker import Tracker
from gateway.errors import PubSubError

__all__ = ["Backend", "Hub"]

logger = logging.getLogger("gateway.cable")

_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 2.0
"""How soon the past is asked for again when the backend did not answer, at first and
later."""

_PAUSE_S = 0.1
"""A stream's past is not asked for more often, whatever places clients come up with."""

_LEAST_HELD = 100
"""So many messages may wait for the past of a stream, whatever its history keeps."""


class Backend(Protocol):
    """What the hub asks of an adapter (``gateway.pubsub.base``). All may wait."""

    def subscribe(self, stream: str) -> None:
        """Return when messages of ``stream`` reach us; again is harmless."""

    def unsubscribe(self, stream: str) -> None:
        """They need not reach us any longer."""

    def recall(self, stream: str) -> Recall | None:
        """What is kept of a stream; None if it has no history."""

    def renew(self, stream: str, epoch: str) -> None:
        """End this epoch of a stream, if it has not ended already."""

    def publish(self, stream: str, publication: Publication) -> None:
        """Send it to all who are subscribed to ``stream``."""

    def keep(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a small thing for so long, where every process finds it."""

    def take(self, key: str) -> bytes | None:
        """Take it, so that nobody else can."""

    def join(self, stream: str, member: str, session: str, about: Any) -> None:
        """A session is present as ``member``."""

    def leave(self, stream: str, session: str) -> None:
        """It is not any longer."""

    def touch(self, sessions: dict[str, list[str]]) -> dict[str, list[str]]:
        """These are still there; returns those that it does not know (any longer)."""

    def present(self, stream: str) -> dict[str, Any]:
        """The members of a stream, and what is known about them."""


class Hub:
    """The streams of this process.

    ``spawn`` runs something that may wait. ``name_here`` says what an audience knows a
    connection as, by its id; the empty string if it is another process's. ``new_gate``
    makes what those wait at who open a stream that is being opened.
    """

    def __init__(
        self,
        backend: Backend,
        new_audience: Callable[[], Audience],
        clock: Clock,
        retentions: Retentions,
        spawn: Callable[[Callable[[], None]], None],
        name_here: Callable[[str], str] = str,
        new_gate: Callable[[], Gate] = Event,
    ) -> None:
        self.streams: dict[str, Stream] = {}
        self.healed = 0
        """Messages that were read back because the broker lost them on the way here."""
        self.lost = 0
        """Gaps that could not be read back."""
        self.replayed = 0
        """Messages that clients were told afterwards."""
        self.refused = 0
        """Times that a client could not be told what it missed."""
        self.conflated = 0
        """Messages that newer ones took the place of, times the readers."""
        self.tracker = Tracker(backend, self.tell_presence)
        self.backend = backend
        self.clock = clock
        self._surroundings = Surroundings(
            new_audience, clock, name_here, self._count_conflated
        )
        self._retentions = retentions
        self._spawn = spawn
        self._new_gate = new_gate
        # Whose past is to be read, the most urgent first, by one greenlet at a time:
        # thousands that asked for themselves would only be in each other's way.
        self._unread: deque[Stream] = deque()
        self._reading = False
        self._retry: Timer | None = None
        self._retry_s = _FIRST_RETRY_S

    @property
    def remembered(self) -> list[str]:
        """The streams with a history that somebody here listens to."""
        streams = self.streams.values()
        return [stream.name for stream in streams if stream.ring is not None]

    # Opening and closing streams.

    def open(self, name: str) -> Stream:
        """Make sure that messages of a stream reach this process; may wait for that.

        Each call is matched by one :meth:`release`.

        Raises:
            PubSubError: the broker does not answer.
        """
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = Stream(name, self._surroundings)
            stream.awaited = []
        stream.users += 1
        try:
            self.backend.subscribe(name)
            while stream.ring is None and stream.awaited is not None:
                self._read_first(stream)
        except BaseException:
            self.release(stream)
            raise
        return stream

    def _read_first(self, stream: Stream) -> None:
        """Read a new stream's past; one does, for all who come meanwhile. May wait."""
        reading = stream.first_reading
        if reading is not None:
            reading.is_over.wait()
            if reading.error is not None:
                raise PubSubError(str(reading.error)) from reading.error
            return
        reading = stream.first_reading = FirstReading(self._new_gate())
        try:
            self._recall(stream)
        except PubSubError as exc:
            reading.error = exc
            raise
        finally:
            stream.first_reading = None
            reading.is_over.set()

    def release(self, stream: Stream) -> None:
        """The last user out unsubscribes."""
        stream.users -= 1
        if not stream.users and self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
            self.backend.unsubscribe(stream.name)

    # What comes.

    def deliver(self, name: str, publication: Publication) -> None:
        """Give a message to all who listen to ``name`` here. Never waits."""
        stream = self.streams.get(name)
        if stream is None:
            return
        if stream.awaited is not None:
            self._hold(stream, publication)
        elif publication.presence:
            self.tracker.heard(stream.name, publication.message)
        elif not stream.follow(publication):
            self._heal(stream, publication)

    def resume(self, names: list[str]) -> None:
        """The broker was away: read back what it may have lost. May wait."""
        for name in names:
            stream = self.streams.get(name)
            if stream and (stream.ring is not None or stream.awaited is not None):
                # An answer that is under way may be older than the gap: with another
                # list, it is not taken in.
                stream.awaited = [*(stream.awaited or ())]
                self._unread.append(stream)
        self.tracker.resume(names)
        if not self._reading:
            self._reading = True
            self._read_back()

    def catch_up(self, stream: Stream, position: Position, since: float) -> None:
        """A reader has come further elsewhere than we have here: read on. May wait.

        ``since`` is when the reader said so, by the hub's clock: what was read after
        that says all that there is to know.

        Raises:
            PubSubError: the past cannot be read just now.
        """
        while stream.is_behind(position) and stream.read_at < since:
            if stream.awaited is not None:
                raise PubSubError(f"the past of {stream.name!r} is being read")
            if self.clock.now() < stream.read_at + _PAUSE_S:
                raise PubSubError(f"the past of {stream.name!r} was read just now")
            stream.awaited = []
            try:
                self._recall(stream)
            except Exception:
                self._unread.append(stream)
                self._read_back_later()
                raise

    def tell_presence(self, name: str, event: bytes) -> None:
        """Tell those who follow a stream's presence here who came or went."""
        stream = self.streams.get(name)
        if stream is not None:
            stream.tell(lambda it: messages.presence(it, event), presence=True)

    def _count_conflated(self, number: int) -> None:
        self.conflated += number

    # Healing.

    def _heal(self, stream: Stream, publication: Publication) -> None:
        """Hold everything newer back until the past has been read."""
        stream.awaited = [publication]
        self._unread.appendleft(stream)
        if not self._reading:
            self._reading = True
            self._spawn(self._read_back)

    def _hold(self, stream: Stream, publication: Publication) -> None:
        assert stream.awaited is not None
        stream.awaited.append(publication)
        kept = self._retentions.of(stream.name).messages
        if kept and len(stream.awaited) > max(kept, _LEAST_HELD):
            self._give_up(stream)

    def _read_back(self) -> None:
        """Read what is unread, until the backend does not answer. May wait."""
        try:
            while self._unread:
                stream = self._unread.popleft()
                if stream.awaited is None or not stream.users:
                    continue
                try:
                    self._recall(stream)
                except Exception as exc:
                    if not isinstance(exc, PubSubError):
                        logger.exception("the past of %r cannot be read", stream.name)
                    self._unread.append(stream)
                    self._read_back_later()
                    return
                self._retry_s = _FIRST_RETRY_S
        finally:
            self._reading = False

    def _read_back_later(self) -> None:
        if self._retry is None:
            self._retry = self.clock.call_later(self._retry_s, self._read_back_now)
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)

    def _read_back_now(self) -> None:
        self._retry = None
        if not self._reading:
            self._reading = True
            self._spawn(self._read_back)

    def _recall(self, stream: Stream) -> None:
        """Take in what the backend has kept, unless somebody has replaced ``awaited``.

        Then our answer may be older than what has come since.
        """
        awaited = stream.awaited
        assert awaited is not None
        began, before = self.clock.now(), len(awaited)
        recall = self.backend.recall(stream.name)
        if stream.awaited is not awaited:
            return
        over: list[Publication] = []
        if recall is not None and stream.contradicts(recall, awaited[:before]):
            # A replica that became master too early gives offsets out again. It must
            # do so under another epoch.
            over = recall.kept
            self.backend.renew(stream.name, recall.position.epoch)
            before = len(awaited)
            recall = self.backend.recall(stream.name)
            if stream.awaited is not awaited:
                return
        stream.awaited = None
        stream.read_at = began
        self._remember(stream, recall, [*over, *awaited[:before]])
        # What had come when we asked, and does not fit the answer, is of a life of the
        # stream that was over then: asking again would not make it fit.
        for publication in awaited[:before]:
            if publication.presence:
                self.tracker.heard(stream.name, publication.message)
            else:
                stream.follow(publication)
        for publication in awaited[before:]:
            self.deliver(stream.name, publication)

    def _remember(
        self, stream: Stream, recall: Recall | None, heard_of: list[Publication]
    ) -> None:
        """Make the answer the stream's past, and hand on what readers have missed.

        If not even what else we have ``heard_of`` makes that whole, they have lost
        something. Then they get all that there is. What is of lives that are over has
        no place in this one.
        """
        if recall is None:
            return
        before = stream.ring
        ring = Ring(recall.position, self._retentions.of(stream.name), recall.kept)
        if before is None:
            stream.ring = ring
            return
        lives = _unheard([*heard_of, *recall.kept], before)
        missing = lives.pop(ring.position.epoch, [])
        if before.is_followed_by(missing, ring.position):
            self.healed += len(missing)
            for publication in missing:
                stream.follow(publication)
            return
        self._lose(stream)
        stream.ring = ring
        for life in lives.values():
            for publication in life:
                stream.hand_on(publication._replace(epoch="", offset=0))
        for number, publication in enumerate(missing):
            if number and publication.offset != missing[number - 1].offset + 1:
                self._lose(stream)  # another gap
            stream.hand_on(publication)

    def _give_up(self, stream: Stream) -> None:
        """More has come than is kept, so what was missed cannot be there any longer."""
        held, stream.awaited = stream.awaited or [], None
        is_open = stream.ring is not None
        for publication in held:
            if publication.presence:
                self.tracker.heard(stream.name, publication.message)
            elif not publication.offset:
                stream.hand_on(publication)
            elif stream.ring is None or not stream.follow(publication):
                if is_open:
                    self._lose(stream)
                before = Position(publication.epoch, publication.offset - 1)
                stream.ring = Ring(before, self._retentions.of(stream.name))
                stream.follow(publication)

    def _lose(self, stream: Stream) -> None:
        self.lost += 1
        self.refused += stream.tell(messages.history_rejection)


def _unheard(
    publications: list[Publication], heard: Ring
) -> dict[str, list[Publication]]:
    """Those that readers have not heard yet, by epoch: once each, and in order."""
    lives: dict[str, dict[int, Publication]] = {}
    for each in publications:
        if each.offset and not heard.has(each):
            lives.setdefault(each.epoch, {})[each.offset] = each
    return {
        epoch: [life[offset] for offset in sorted(life)]
        for epoch, life in lives.items()
    }
