"""The streams of one subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway.cable import messages
from gateway.cable.feeds import PLAIN, Envelope, Terms
from gateway.cable.history import HistoryLost, Position
from gateway.cable.hub import Hub
from gateway.cable.listening import Calling, Conflating, Listening, Plain
from gateway.cable.messages import HistoryRequest
from gateway.cable.publication import Publication

if TYPE_CHECKING:
    from gateway.cable.connection import Wire

__all__ = ["Streams"]


class Streams:
    """Streams are opened when asked for, and held back until they are let on.

    So a client hears nothing of a stream before its subscription is confirmed, nothing
    is confirmed that is not live yet, and what comes in between is told behind the
    confirmation. ``identifier`` is the subscription's.
    """

    __slots__ = (
        "_envelope",
        "_hub",
        "_is_let_on",
        "_is_over",
        "_is_paused",
        "_listening",
        "_wire",
    )

    def __init__(self, hub: Hub, identifier: str, wire: Wire) -> None:
        self._hub = hub
        self._wire = wire
        self._envelope = Envelope(identifier, wire.extended)
        self._listening: dict[str, Listening] = {}
        self._is_let_on = False
        self._is_paused = False
        self._is_over = False

    @property
    def names(self) -> list[str]:
        """The streams it listens to, in the order they were asked for."""
        return list(self._listening)

    # Which they are.

    def start(
        self,
        name: str,
        terms: Terms = PLAIN,
        *,
        latest: bool = False,
        presence: bool = False,
        callback: Callable[[bytes], None] | None = None,
    ) -> list[bytes]:
        """Listen to a stream; returns when that is certain, with frames to send.

        Asking again changes the terms. With a ``callback``, that is told instead of the
        client. With ``latest``, the client is told the value of now first.
        """
        known = self._listening.get(name)
        if known is None:
            stream = self._hub.open(name)
            known = self._listening.get(name)
            if self._is_over or known is not None:
                # While we waited the subscription has ended, or another greenlet of its
                # channel was faster.
                self._hub.release(stream)
            if self._is_over:
                return []
        if known is not None:
            stream = known.stream
        envelope = self._envelope
        if presence and envelope.extended:
            envelope = envelope._replace(presence=True)
        listening: Listening
        if callback is not None:
            listening = Calling(stream, self._wire, callback)
        elif known is not None and known.agrees(envelope, terms, latest=latest):
            return []
        elif terms.is_plain:
            listening = Plain(stream, self._wire, envelope, latest=latest)
        else:
            listening = Conflating(stream, self._wire, envelope, terms, latest=latest)
        if known is not None:
            listening.succeed(known)
        self._listening[name] = listening
        if self._is_paused:
            return []
        if self._is_let_on:
            return self._go_on(listening)
        listening.hold()
        return []

    def stop(self, name: str) -> None:
        """No longer listen to a stream; no matter if it never did."""
        listening = self._listening.pop(name, None)
        if listening is not None:
            listening.end()
            self._hub.release(listening.stream)

    def stop_all(self) -> None:
        """No longer listen to any."""
        for name in self.names:
            self.stop(name)

    def close(self) -> None:
        """No longer listen to any, nor to what is asked for from now on."""
        self._is_over = True
        self.stop_all()

    # Whether messages are let through.

    def let_on(self) -> list[bytes]:
        """Let messages through, unless paused; returns frames to send before them."""
        self._is_let_on = True
        frames: list[bytes] = []
        for listening in tuple(self._listening.values()):
            if self._is_paused:
                listening.pause()
            else:
                frames += self._go_on(listening)
        return frames

    def pause(self) -> None:
        """Let go by what comes from now on."""
        self._is_paused = True
        for listening in self._listening.values():
            listening.pause()

    def resume(self, *, held: bool = False) -> list[bytes]:
        """End the pause; returns frames to send before what comes.

        If the past is told first, what is not live is ``held`` until :meth:`let_on`.
        """
        self._is_paused = False
        if self._is_let_on and not held:
            return self.let_on()
        for listening in self._listening.values():
            if not listening.is_live:
                listening.hold()
        return []

    def _go_on(self, listening: Listening) -> list[bytes]:
        try:
            return listening.go_on()
        except HistoryLost:
            listening.skip_lost()
        frames = listening.go_on()
        if isinstance(listening, Plain) and self._wire.extended:
            self._hub.refused += 1
            rejection = messages.history_rejection(self._envelope.identifier)
            frames.insert(0, rejection)
        return frames

    # The past.

    def positions(self) -> dict[str, Position]:
        """How far the client has been told each stream that it can ask the past of."""
        places = {name: each.position for name, each in self._plain().items()}
        return {name: place for name, place in places.items() if place is not None}

    def catch_up(self, request: HistoryRequest, since: float) -> None:
        """Come as far as the client has been elsewhere. May wait; what it has named is
        held back from then on. ``since`` is when it asked (:meth:`Hub.catch_up`).

        Raises:
            HistoryLost: it has named a stream that it does not hear.
            PubSubError: it cannot be done just now.
        """
        if unheard := request.streams.keys() - self._listening.keys():
            raise HistoryLost(f"it does not stream from {min(unheard)!r}")
        for name, place in request.streams.items():
            listening = self._listening.get(name)  # it may have been stopped meanwhile
            if isinstance(listening, Plain):
                listening.hold()
                position = Position(place.epoch, place.offset)
                self._hub.catch_up(listening.stream, position, since)

    def missed(self, request: HistoryRequest) -> list[bytes]:
        """The frames that a client has missed, stream by stream, up to now.

        Raises:
            HistoryLost: something of it cannot be given, so nothing is.
        """
        past: list[tuple[Plain, list[Publication]]] = []
        for name, listening in self._plain().items():
            place = request.streams.get(name)
            after = None if place is None else Position(place.epoch, place.offset)
            missed = listening.past(after, request.since)
            if missed or after is not None:
                past.append((listening, missed))
        frames: list[bytes] = []
        for listening, missed in past:
            listening.told()
            frames += listening.frames(missed)
        return frames

    def behind(self, places: Mapping[str, Position]) -> list[list[Publication]]:
        """What came in each stream behind these places up to now, if it is kept."""
        past: list[list[Publication]] = []
        for name, listening in self._plain().items():
            if name in places:
                try:
                    past.append(listening.stream.missed(places[name]))
                except HistoryLost:
                    past.append(listening.stream.since(0.0))
                listening.told()
        return past

    def _plain(self) -> dict[str, Plain]:
        return {
            name: listening
            for name, listening in self._listening.items()
            if isinstance(listening, Plain)
        }
