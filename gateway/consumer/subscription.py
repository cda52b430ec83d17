"""A subscription of a consumer: what it asks for, and what it hears."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gevent
import msgspec
from gevent import getcurrent
from gevent.event import Event
from gevent.queue import Empty, Queue

from gateway.consumer.frames import Frame, Place
from gateway.errors import ConnectionClosed, LocalError

if TYPE_CHECKING:
    from gateway.consumer.consumer import Consumer

__all__ = [
    "ConsumerClosed",
    "ConsumerSubscription",
    "Disconnected",
    "SubscriptionRejected",
]

logger = logging.getLogger("gateway.consumer")

Callback = Callable[..., object]


class SubscriptionRejected(LocalError):
    """The server does not let us subscribe."""


class ConsumerClosed(ConnectionClosed):
    """The program itself ended the consumer, or the subscription; says which."""

    def __init__(self, what: str) -> None:
        super().__init__(None, None)
        self.what = what

    def __str__(self) -> str:
        return self.what


class Disconnected(ConnectionClosed):
    """The server sent us away for good; ``reason`` is its word for why."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(None, None)
        self.reason = reason

    def __str__(self) -> str:
        return f"the server disconnected us, and does not want us back: {self.reason}"


class ConsumerSubscription:
    """A subscription, for as long as the consumer lives or until :meth:`unsubscribe`.

    Made by :meth:`Consumer.subscribe`. Without a ``received`` callback its messages
    wait to be taken by :meth:`receive` or iteration, at most ``max_waiting`` of them:
    then the oldest is dropped for each new one, and counted.

    >>> from gateway import Consumer
    >>> with Consumer("ws://127.0.0.1:1/cable") as consumer:
    ...     prices = consumer.subscribe("PricesChannel", shop=1)
    ...     prices.state
    'pending'
    >>> prices.state
    'closed'
    """

    def __init__(
        self, consumer: Consumer, identifier: str, callbacks: Mapping[str, Callback]
    ) -> None:
        self.identifier = identifier
        self.state = "pending"
        """``pending``, ``confirmed``, ``rejected``, ``unsubscribed``, or ``closed``
        with the consumer."""
        self.updates = 0
        """For conflated streams: how many messages had come, to the server, by the one
        that was received last. The difference between two is how many were merged."""
        self.duplicates = 0
        """Messages that came again, and were dropped."""
        self.dropped = 0
        """Messages that nobody received in time, and were dropped."""
        self._consumer = consumer
        self._callbacks = callbacks
        # Per stream, the place of the last message, which is told on coming back; and
        # how far it has come on this connection: as confirmed, then as heard.
        self._places: dict[str, Place] = {}
        self._reached: dict[str, Place] = {}
        self._messages: Queue[Frame | None] = Queue(consumer._max_waiting)  # None: end
        self._present: dict[str, Any] | None = None
        self._over: Exception | None = None
        self._answered = Event()

    # What the program says.

    def perform(self, action: str, /, **data: Any) -> bool:
        """Call an action of the channel.

        Returns whether it was sent: without a connection just now it is lost.

        Raises:
            TypeError: JSON has no word for the data.
            SubscriptionRejected, ConnectionClosed: the subscription is over.
        """
        text = msgspec.json.encode({**data, "action": action}).decode()
        return self._say("message", data=text)

    def whisper(self, data: Any) -> bool:
        """Say something to the others on the stream, if the channel lets clients."""
        return self._say("whisper", data=data)

    def join(self, member: str, info: Any = None) -> None:
        """Be present on the stream, if the channel lets clients; events come to the
        ``presence`` callback. Holds until :meth:`leave`, also over reconnections."""
        self._present = {"id": member, "info": info}
        if self.state != "pending":
            self._say("join", presence=self._present)

    def leave(self) -> None:
        """Be present no longer."""
        self._present = None
        if self.state != "pending":
            self._say("leave")

    def ask_presence(self) -> bool:
        """Ask who is present; the answer comes to the ``presence`` callback."""
        return self._say("presence")

    def unsubscribe(self) -> None:
        """End the subscription; again is harmless."""
        self._consumer._forget(self)

    # What it hears.

    def receive(self, timeout: float | None = None) -> Any:
        """The next message.

        Raises:
            TimeoutError: none came in ``timeout`` seconds.
            SubscriptionRejected: there will be none.
            ConnectionClosed: the consumer was closed, or the server refused it.
            LocalError: a callback asks, which has to return before anything is heard.
        """
        if self._messages.empty():
            self._check_caller("receive()")
        try:
            frame = self._messages.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"nothing in {timeout} s") from None
        if frame is None:
            assert self._over is not None
            self._put(None)  # for whoever asks next
            raise self._over
        self.updates = frame.updates
        return frame.message

    def messages(self, timeout: float | None = None) -> Iterator[Any]:
        """Each message, until the subscription is over.

        Raises:
            TimeoutError: none came in ``timeout`` seconds.
            SubscriptionRejected: there will be none.
        """
        try:
            while True:
                yield self.receive(timeout)
        except ConnectionClosed:
            return

    def __iter__(self) -> Iterator[Any]:
        """As :meth:`messages`, without a timeout."""
        return self.messages()

    def wait_confirmed(self, timeout: float | None = 10.0) -> ConsumerSubscription:
        """Wait for the server's answer, and return this.

        Raises:
            TimeoutError: none came in ``timeout`` seconds.
            SubscriptionRejected: it was no.
            ConnectionClosed: there will be none, the consumer is at its end.
            LocalError: a callback waits, which has to return before anything is heard.
        """
        if not self._answered.is_set():
            self._check_caller("wait_confirmed()")
        if not self._answered.wait(timeout):
            raise TimeoutError(f"{self.identifier} was not confirmed in {timeout} s")
        if self._over is not None:
            raise self._over
        return self

    def _check_caller(self, what: str) -> None:
        if getcurrent() is self._consumer._keeper:
            raise LocalError(
                f"{what} in a callback would wait for ever: what it waits for is heard "
                "once the callback has returned; use another callback, or gevent.spawn"
            )

    def _say(self, command: str, **what: Any) -> bool:
        if self._over is not None:
            raise self._over
        said = {"command": command, "identifier": self.identifier, **what}
        return self._consumer._send(said)

    # What the consumer tells it.

    def _command(self) -> dict[str, Any]:
        """What to say to be subscribed, and told what we missed."""
        command: dict[str, Any] = {
            "command": "subscribe",
            "identifier": self.identifier,
        }
        if self._places:
            command["history"] = {"streams": self._places}
        return command

    def _confirmed(self, frame: Frame, reconnected: bool) -> None:
        """The server lets us in."""
        self._reached = dict(frame.streams)
        for stream, place in frame.streams.items():
            self._places.setdefault(stream, place)
        self.state = "confirmed"
        self._answered.set()
        if self._present is not None:
            self._say("join", presence=self._present)
        self._call("connected", reconnected)

    def _rejected(self) -> None:
        """It does not."""
        why = SubscriptionRejected(f"the server rejected {self.identifier}")
        self._end("rejected", why)
        self._call("rejected")

    def _disconnected(self, will_reconnect: bool) -> None:
        """The connection is gone."""
        if self.state == "confirmed":
            self.state = "pending"
            self._answered.clear()
            self._call("disconnected", will_reconnect)

    def _history_lost(self) -> None:
        """What we missed cannot be told: it is behind us."""
        self._places = dict(self._reached)
        self._call("history_lost")

    def _received(self, frame: Frame) -> None:
        """A message came."""
        if frame.offset is not None:
            place = Place(frame.epoch, frame.offset)
            known = self._places.get(frame.stream_id, Place("", 0))
            if place.epoch == known.epoch and place.offset <= known.offset:
                self.duplicates += 1
                return
            self._places[frame.stream_id] = self._reached[frame.stream_id] = place
        if "received" in self._callbacks:
            self.updates = frame.updates
            self._call("received", frame.message)
        else:
            self._put(frame)

    def _end(self, state: str, why: Exception) -> None:
        """There will be nothing more; ``why`` is raised to whoever waits or speaks."""
        if self._over is None:
            self.state = state
            self._over = why
            self._put(None)
            self._answered.set()

    def _put(self, frame: Frame | None) -> None:
        if self._messages.full():
            self._messages.get_nowait()
            if not self.dropped:
                logger.warning(
                    "%s: %d messages wait to be received, the oldest are dropped",
                    self.identifier,
                    self._consumer._max_waiting,
                )
            self.dropped += 1
        self._messages.put_nowait(frame)

    def _call(self, name: str, *arguments: Any) -> None:
        callback = self._callbacks.get(name)
        if callback is not None:
            try:
                callback(*arguments)
            except (Exception, gevent.Timeout):
                logger.exception("%s: %s failed", self.identifier, name)
