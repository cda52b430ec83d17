"""Subscriptions without sockets: what a channel did, and what it was made to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from gateway.cable.channel import Channel
from gateway.cable.connection import Connection
from gateway.cable.hub import Hub
from gateway.cable.publication import Publication
from gateway.cable.subscription import State, Subscription
from gateway.clock import LoopClock
from gateway.errors import LocalError
from gateway.pubsub.base import Deliver
from gateway.pubsub.recording import RecordingPubSub
from gateway.reasons import CloseReason
from gateway.server import CableServer
from gateway.testing.connections import stub_connection, wire_of
from gateway.testing.surroundings import context_of, server_at_hand
from gateway.testing.wire import Inaudible, StubWire

__all__ = [
    "SubscriptionStub",
    "assert_has_no_stream",
    "assert_has_no_stream_for",
    "assert_has_stream",
    "assert_has_stream_for",
    "assert_no_streams",
    "subscribe",
]


class SubscriptionStub:
    """What :func:`subscribe` gives: a subscription, and all that it did.

    >>> from gateway import Channel, action
    >>> class EchoChannel(Channel):
    ...     @action
    ...     def echo(self, data):
    ...         self.transmit(data["text"])
    >>> subscription = subscribe(EchoChannel)
    >>> subscription.perform("echo", text="hello")
    >>> subscription.transmissions
    ['hello']

    Its channel hears what is broadcast to the streams for which it has callbacks. What
    a callback or an action raises is raised in the test, unless the channel or its
    connection rescues it.
    """

    def __init__(self, channel: Channel, server: CableServer | None) -> None:
        self.channel = channel
        self._server = server
        self._connection_wire = wire_of(channel.connection)
        self._wire = StubWire(self._connection_wire.id)
        self._hub = _make_hub(server, self._heard)
        self._subscription = _Watched(channel, self._wire, self._hub)
        self._busy = False
        self._command(self._subscription.begin)

    @property
    def confirmed(self) -> bool:
        """Whether the client was told that it is subscribed."""
        return self._subscription.state is State.CONFIRMED

    @property
    def rejected(self) -> bool:
        """Whether it was told that it is not."""
        return self._subscription.state is State.REJECTED

    @property
    def streams(self) -> list[str]:
        """The names of the streams it listens to."""
        return self._subscription.streams.names

    @property
    def transmissions(self) -> list[Any]:
        """What was transmitted to it, in order, as the client reads it."""
        return [frame["message"] for frame in self._wire.frames if "message" in frame]

    @property
    def closed(self) -> CloseReason | None:
        """Why its connection was closed; None while it is open."""
        return self._wire.closed or self._connection_wire.closed

    def perform(self, action: str, /, **data: Any) -> None:
        """Call an action as a client would, with data that has been JSON.

        Raises:
            CommandError: there is no such action, or the data does not fit it: the
                refusal is among the transmissions then.
            LocalError: it is not subscribed.
        """
        self._check_subscribed("perform")
        sent = msgspec.json.decode(msgspec.json.encode({**data, "action": action}))
        self._command(partial(self._subscription.perform, sent))

    def tick(self, *names: str) -> None:
        """Let the time come for its ``@periodically`` methods: all, or these.

        Raises:
            LocalError: there is no such method, or the subscription is not confirmed.
        """
        periodic = [name for name, _ in self.channel.periodic]
        if unknown := set(names).difference(periodic):
            raise LocalError(
                f"{type(self.channel).__name__} does nothing periodically that is "
                f"called {', '.join(sorted(unknown))}, only {periodic}"
            )
        if not self.confirmed:
            raise LocalError(f"{self!r} cannot tick: it is not confirmed")
        for name, timer in zip(periodic, self._wire.timers, strict=True):
            if not names or name in names:
                self._do(timer.job)

    def unsubscribe(self) -> None:
        """End it as a client would."""
        self._check_subscribed("unsubscribe")
        self._command(self._subscription.end)

    def __repr__(self) -> str:
        state = self._subscription.state.name.lower()
        return f"<{type(self.channel).__name__} {state}, streams {self.streams}>"

    def _check_subscribed(self, what: str) -> None:
        if self._subscription.state in (State.REJECTED, State.GONE):
            raise LocalError(f"{self!r} cannot {what}: it is not subscribed")

    def _command(self, job: Callable[[], object]) -> None:
        """Do what a client wants, within the connection's hooks."""
        connection = self.channel.connection

        def execute() -> None:
            try:
                for name in connection.before:
                    getattr(connection, name)()
                job()
            finally:
                for name in connection.after:
                    getattr(connection, name)()

        self._do(execute)

    def _heard(self, stream: str, publication: Publication) -> None:
        """Something was broadcast: its callbacks are for it to be called."""
        self._hub.deliver(stream, publication)
        self._work_off()

    def _do(self, job: Callable[[], object]) -> None:
        self._wire.post(job)
        self._work_off()

    def _work_off(self) -> None:
        """Do what was posted, one after the other, each in a context of its own."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._wire.jobs:
                with context_of(self._server):
                    self._wire.jobs.popleft()()
                self._subscription.raise_unrescued()
        finally:
            self._busy = False


class _Watched(Subscription):
    """Remembers what nobody rescues, to be raised in the test."""

    def __init__(self, channel: Channel, wire: StubWire, hub: Hub) -> None:
        self._unrescued: list[BaseException] = []
        super().__init__(channel, wire, hub)

    def rescue(self, error: BaseException) -> bool:
        channel = self.channel
        if channel.rescuers.rescue(channel, error) or channel.connection.rescue(error):
            return True
        self._unrescued.append(error)
        return False

    def raise_unrescued(self) -> None:
        """Raise the first of them."""
        if self._unrescued:
            raise self._unrescued.pop(0)


def subscribe(
    channel: type[Channel], connection: Connection | None = None, /, **params: Any
) -> SubscriptionStub:
    """Subscribe to a channel with parameters, as the client of ``connection``.

    Callbacks run in a context of the app at hand: the one in whose context the test is,
    that of its fixture ``app``, or the only one there is.

    Raises:
        LocalError: the connection is none of the kit's, or there are several apps.
    """
    connection = connection or stub_connection()
    server = server_at_hand(channel)
    wire_of(connection)
    given = {"channel": _name(channel, server), **params}
    identifier = msgspec.json.encode(given).decode()
    with context_of(server):
        made = channel(connection, identifier, msgspec.json.decode(identifier))
    return SubscriptionStub(made, server)


def _name(channel: type[Channel], server: CableServer | None) -> str:
    """What clients call it."""
    known = {} if server is None else server.channels
    names = [name for name, cls in known.items() if cls is channel]
    return names[0] if names else channel.__name__


class _Backend:
    """The app's adapter, which tells us everything, whoever has asked for it."""

    def __init__(self, pubsub: RecordingPubSub) -> None:
        self._pubsub = pubsub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pubsub, name)

    def subscribe(self, stream: str) -> None:
        """We hear it anyway."""

    def unsubscribe(self, stream: str) -> None:
        """Others may still listen."""


def _make_hub(server: CableServer | None, heard: Deliver) -> Hub:
    """A hub of the kit's own, on the app's adapter if that is the one for tests."""
    pubsub = None if server is None else server.pubsub
    if not isinstance(pubsub, RecordingPubSub):
        pubsub = RecordingPubSub()
    pubsub.listeners.append(heard)
    backend: Any = _Backend(pubsub)
    return Hub(backend, Inaudible, LoopClock(), pubsub.retentions, lambda job: job())


def assert_has_stream(subscription: SubscriptionStub, name: str) -> None:
    """It must listen to the stream."""
    assert name in subscription.streams, (
        f"it does not stream from {name!r}, but from {subscription.streams}"
    )


def assert_has_stream_for(subscription: SubscriptionStub, thing: Any) -> None:
    """It must listen to the channel's stream about a thing."""
    assert_has_stream(subscription, subscription.channel.broadcasting_for(thing))


def assert_has_no_stream(subscription: SubscriptionStub, name: str) -> None:
    """It must not listen to the stream."""
    assert name not in subscription.streams, f"it streams from {name!r}"


def assert_has_no_stream_for(subscription: SubscriptionStub, thing: Any) -> None:
    """It must not listen to the channel's stream about a thing."""
    assert_has_no_stream(subscription, subscription.channel.broadcasting_for(thing))


def assert_no_streams(subscription: SubscriptionStub) -> None:
    """It must listen to none."""
    assert not subscription.streams, f"it streams from {subscription.streams}"
