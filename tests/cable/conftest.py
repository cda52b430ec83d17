"""A cable without sockets: everything it says is kept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from time import time
from typing import Any

import msgspec
import pytest
from gevent.event import Event

from gateway.cable.channel import Channel
from gateway.cable.connection import Connection
from gateway.cable.feeds import Envelope
from gateway.cable.hub import Hub
from gateway.cable.messages import read_command
from gateway.cable.publication import Publication
from gateway.cable.stream import Stream
from gateway.cable.subscriptions import Rules, Subscriptions
from gateway.pubsub.memory import MemoryPubSub
from gateway.reasons import CloseReason
from tests.cable.broker import Broker


class Audience(dict["Wire", None]):
    """Readers, each of which is told at once."""

    def add(self, member: Wire) -> None:
        self[member] = None

    def discard(self, member: Wire) -> None:
        self.pop(member, None)

    def send_text(
        self, payload: bytes, *, exclude: str = "", newest: bytes | None = None
    ) -> None:
        for member in tuple(self):
            if member.id != exclude:
                member.send_text(newest if newest and member.lags else payload)


class Wire:
    """A socket that keeps what is sent, and runs what is posted when told to."""

    _ids = count(1)
    failures = (Exception,)

    def __init__(self) -> None:
        self.id = f"wire-{next(self._ids)}"
        self.sent: list[Any] = []
        self.closed: CloseReason | None = None
        self.waiting = 0
        self.lags = False
        self.extended = False
        self.jobs: list[Callable[[], object]] = []
        self._timers: list[Repeating] = []
        self.announced: list[str] = []

    @property
    def member(self) -> Wire:
        return self

    def send_text(self, payload: bytes) -> None:
        self.sent.append(msgspec.json.decode(payload))

    def close(self, reason: CloseReason) -> None:
        self.closed = reason

    def post(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def every(self, seconds: float, job: Callable[[], object]) -> Repeating:
        self._timers.append(Repeating(seconds, lambda: self.post(job)))
        return self._timers[-1]

    def later(self, seconds: float, job: Callable[[], object]) -> Repeating:
        return self.every(seconds, job)

    @property
    def timers(self) -> list[Repeating]:
        """Those that have not been cancelled."""
        return [timer for timer in self._timers if not timer.cancelled]

    def ring(self) -> None:
        """All timers are due."""
        for timer in self.timers:
            timer.job()
        self.run_jobs()

    def announce(self, event: str, /, **about: Any) -> None:
        self.announced.append(event)

    def take(self) -> list[Any]:
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent

    def run_jobs(self) -> None:
        """Do what was posted."""
        while self.jobs:
            self.jobs.pop(0)()


class Repeating:
    """A timer that does not tick by itself."""

    def __init__(self, seconds: float, job: Callable[[], object]) -> None:
        self.seconds = seconds
        self.job = job
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Time that goes when the test says so."""

    def __init__(self) -> None:
        self.time = 100.0
        self.due: list[tuple[float, Callable[[], None], Repeating]] = []

    def now(self) -> float:
        return self.time

    def unix(self) -> float:
        return self.time

    def call_later(self, seconds: float, action: Callable[[], None]) -> Repeating:
        timer = Repeating(seconds, action)
        self.due.append((self.time + seconds, action, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen on the way."""
        end = self.time + seconds
        while self.due:
            at, action, timer = min(self.due, key=lambda entry: entry[0])
            if at > end:
                break
            self.due.remove((at, action, timer))
            self.time = max(self.time, at)
            if not timer.cancelled:
                action()
        self.time = end


class Client:
    """One client: say something, and see what comes back."""

    def __init__(
        self, hub: Hub, registry: dict[str, type[Channel]], **rules: Any
    ) -> None:
        self.wire = Wire()
        self.connection = rules.pop("connection", None) or Connection()
        self.connection.settle()
        self.connection.attach(self.wire)
        self.subscriptions = Subscriptions(
            self.connection, self.wire, hub, registry, Rules(**rules)
        )

    def say(self, **command: Any) -> list[Any]:
        """Carry out a command; returns what is answered."""
        self.subscriptions.execute(read_command(msgspec.json.encode(command).decode()))
        return self.wire.take()

    def subscribe(self, channel: str, **params: Any) -> list[Any]:
        identifier = identify(channel, **params)
        return self.say(command="subscribe", identifier=identifier)

    def perform(self, identifier: str, **data: Any) -> list[Any]:
        text = msgspec.json.encode(data).decode()
        return self.say(command="message", identifier=identifier, data=text)


def say(hub: Hub, stream: str, message: bytes, exclude: str = "") -> None:
    """Something is published to a stream."""
    hub.deliver(stream, Publication(message, exclude))


def enveloped(channel: str, **params: Any) -> Envelope:
    """What goes around the messages of a subscription."""
    return Envelope(identify(channel, **params))


def identify(channel: str, **params: Any) -> str:
    """An identifier as Rails' client writes it."""
    return msgspec.json.encode({"channel": channel, **params}).decode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hub(clock: Clock) -> Hub:
    pubsub = MemoryPubSub()
    hub = Hub(pubsub, Audience, clock, pubsub.retentions, lambda job: job())
    pubsub.start(hub.deliver, hub.resume)
    return hub


@pytest.fixture
def registry() -> dict[str, type[Channel]]:
    return {}


MakeClient = Callable[..., Client]


@pytest.fixture
def make_client(hub: Hub, registry: dict[str, type[Channel]]) -> MakeClient:
    return lambda **rules: Client(hub, registry, **rules)


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client()


class Healing:
    """A hub on a broker that can be broken; what is to be done later is in ``due``."""

    def __init__(self, kept: int = 100, name_here: Callable[[str], str] = str) -> None:
        self.broker = Broker(kept)
        self.clock = Clock()
        self.clock.time = time()
        self.due: list[Callable[[], None]] = []
        self.hub = Hub(
            *(self.broker, Audience, self.clock, self.broker.retentions),
            *(self.due.append, name_here, Event),
        )
        self.broker.start(self.hub.deliver, self.hub.resume)

    @property
    def stream(self) -> Stream:
        """The stream that most tests read."""
        return self.hub.streams["s"]

    def settle(self) -> None:
        """Do what is to be done, until nothing is."""
        for _ in range(1000):
            if not self.due:
                return
            self.due.pop(0)()
        raise AssertionError("it never comes to rest")

    def reader(
        self, stream: str = "s", *, extended: bool = True, presence: bool = False
    ) -> Wire:
        """Somebody who reads a stream from now on."""
        wire = Wire()
        wire.extended = extended
        envelope = Envelope(identify("C"), extended, presence)
        self.hub.open(stream).plain.join(envelope, wire)
        return wire


@pytest.fixture
def healing() -> Healing:
    return Healing()
