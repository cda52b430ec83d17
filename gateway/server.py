"""Hub, pub/sub and sockets joined: the one place that sees both sides.

A ``CableServer`` belongs to one application in one process. It starts with its first
socket, not when it is made, so that nothing of it exists before a server has forked.
"""

from __future__ import annotations

import logging
import secrets
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from time import time
from typing import Any, ClassVar
from weakref import WeakSet

import gevent
import msgspec
from gevent.event import Event

from gateway import control, reasons
from gateway import pubsub as adapters
from gateway.cable import messages
from gateway.cable.channel import Channel
from gateway.cable.connection import Connection
from gateway.cable.hub import Hub
from gateway.cable.presence import TOUCH_S
from gateway.cable.publication import Publication
from gateway.cable.subscriptions import Registry, Rules
from gateway.clock import LoopClock, LoopTimer
from gateway.config import Settings
from gateway.control import CONTROL
from gateway.errors import PubSubError
from gateway.events import EventStream
from gateway.metrics import Meter
from gateway.pubsub.base import PROLONG_S, PubSub
from gateway.reasons import CloseReason
from gateway.session import ConnectionInfo, SavedSession, Session
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.frames import Message
from gateway.websocket.heartbeat import Wheel
from gateway.websocket.limits import Limits
from gateway.websocket.multicast import Multicast
from gateway.websocket.origins import Origins
from gateway.websocket.socket import WebSocket

__all__ = ["CableServer", "Statistics"]

logger = logging.getLogger("gateway.cable")

_RETRY_S = 0.25
"""How soon orders are asked for again when the broker did not answer."""

Context = Callable[[], AbstractContextManager[Any]]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one process. All but ``sockets`` and ``streams`` only ever grow."""

    sockets: int
    """Open sockets: those of the cable, bare ones, and event streams."""
    opened: int
    closed: dict[str, int]
    """Sockets closed, by the reason's name."""
    refused: dict[str, int]
    """Sockets not let in, by the limit's name."""
    streams: int
    """Streams that somebody here listens to."""
    messages_in: int
    messages_out: int
    """Messages times their readers, heartbeats included."""
    bytes_out: int
    conflated: int
    """Messages that readers never got, because newer ones took their place."""
    ignored: int
    """Commands that could not be carried out."""
    healed: int
    """Messages read back because the broker lost them on the way to this process."""
    lost: int
    """Gaps that could not be read back; who listened was told."""
    replayed: int
    """Messages told afterwards to clients that were away."""
    history_rejected: int
    """Clients that could not be told what they missed."""


class CableServer:
    """The cable of one application in this process.

    ``context`` makes the surroundings that each of the application's callbacks runs in
    (a Flask app context); it is entered and left once per callback. ``channels`` are
    those that clients may name. ``CableServer.running`` are all of this process.
    """

    running: ClassVar[WeakSet[CableServer]] = WeakSet()

    def __init__(
        self,
        settings: Settings,
        app: object,
        context: Context,
        channels: dict[str, type[Channel]],
    ) -> None:
        self.settings = settings
        self.app = app
        self.context = context
        self.own_channels: dict[str, type[Channel]] = {}
        self.channels: Registry = ChainMap(self.own_channels, channels)
        self.origins = Origins(
            settings.allowed_origins,
            same_host=settings.allow_same_origin,
            required=settings.require_origin,
        )
        self.token = secrets.token_hex(4)  # tells this process's connections apart
        self.draining = False
        self._hurried = Event()
        self._orders = control.Orders(self._obey)
        self.ignored = 0
        self.event_streams: set[EventStream] = set()
        self.running.add(self)

    # Its parts, each made when first used.

    @cached_property
    def endpoint(self) -> Endpoint:
        """The sockets of this application."""
        settings = self.settings
        limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_queued_bytes=settings.max_queued_bytes,
            max_outgoing_bytes=settings.max_outgoing_bytes,
            write_timeout_s=settings.write_timeout,
            max_sockets=settings.max_sockets,
            max_sockets_per_address=settings.max_sockets_per_address,
        )
        return Endpoint(limits, ping_interval_s=settings.websocket_ping_interval)

    @cached_property
    def pubsub(self) -> PubSub:
        """The adapter, started."""
        self.running.add(self)
        settings = self.settings
        pubsub = adapters.create(
            settings.adapter,
            url=settings.url,
            prefix=settings.channel_prefix,
            timeout_s=settings.publish_timeout,
            on_failure=settings.on_failure,
            max_queued=settings.max_queued,
            retentions=settings.retentions(),
        )
        pubsub.start(self._deliver, self._resume)
        return pubsub

    @cached_property
    def hub(self) -> Hub:
        """Who hears which stream in this process."""
        return Hub(
            self.pubsub,
            Multicast,
            LoopClock(),
            self.pubsub.retentions,
            self.endpoint.workers.run,
            self._name_here,
            Event,
        )

    @cached_property
    def rules(self) -> tuple[Rules, Rules]:
        """Those for clients that repeat no subscription, and for those that do."""
        plain = Rules(
            confirm_repeats=False,
            max_subscriptions=self.settings.max_subscriptions,
            max_identifier_bytes=self.settings.max_identifier_bytes,
            filter_parameters=self.settings.filter_parameters,
            max_presence_bytes=self.settings.max_presence_bytes,
            max_outgoing_bytes=self.settings.max_outgoing_bytes,
        )
        return plain, replace(plain, confirm_repeats=True)

    @cached_property
    def presence(self) -> LoopTimer:
        """Says again and again that our clients are still present."""
        run = self.endpoint.workers.run
        return LoopTimer(TOUCH_S, lambda: run(self.hub.tracker.touch), repeat=True)

    @cached_property
    def listened(self) -> LoopTimer:
        """Says from time to time which streams are listened to, however silent."""
        run = self.endpoint.workers.run
        return LoopTimer(PROLONG_S, lambda: run(self._prolong), repeat=True)

    @cached_property
    def beats(self) -> Wheel[Multicast]:
        """The cable's heartbeat. Each slot is told the time in one message."""
        wheel = Wheel(self.settings.ping_interval, Multicast, _beat)
        wheel.start()
        return wheel

    @cached_property
    def listening(self) -> bool:
        """Whether we hear what other processes want of us. Waits for the broker."""
        self.pubsub.subscribe(CONTROL)
        self._orders.begin(self.pubsub.recall(CONTROL))
        return True

    @cached_property
    def meter(self) -> Meter:
        """Tells Prometheus how we do."""
        return Meter(self)

    def start(self) -> None:
        """Begin what does not wait for a client; again is harmless.

        Raises:
            PubSubError: the broker does not answer; it may be tried again.
        """
        # Each begins when it is made.
        _ = self.meter, self.presence, self.listened, self.listening

    # What the program can do.

    def broadcast(
        self, stream: str, message: Any, exclude: Connection | None = None
    ) -> None:
        """Send ``message`` to all who stream from ``stream``, in every process.

        Raises:
            TypeError: JSON has no word for it.
            PubSubError: the broker did not take it.
        """
        excluded = "" if exclude is None else exclude.id
        self.pubsub.publish(stream, Publication(messages.encode(message), excluded))

    def disconnect(self, identifiers: Mapping[str, Any], *, reconnect: bool) -> None:
        """Send all connections away that have these identifiers, in every process."""
        order = control.disconnect(identifiers, reconnect=reconnect)
        self.pubsub.publish(CONTROL, order)

    def history(
        self, stream: str, *, limit: int | None = None, since: float | None = None
    ) -> list[Any]:
        """What is kept of a stream, oldest first: the last, or those since."""
        recall = self.pubsub.recall(stream)
        kept = [] if recall is None else recall.kept
        if since is not None:
            kept = [each for each in kept if each.time >= since]
        if limit is not None:
            kept = kept[len(kept) - min(limit, len(kept)) :]
        return [messages.decode(each.message) for each in kept]

    def saved(
        self, sid: str, connection: Connection, origin: str
    ) -> dict[str, list[str]] | None:
        """The subscriptions of a lost connection, for its owner, once.

        They are what :class:`SavedSession` says; ``origin`` is that of the request.
        """
        if not sid:
            return None
        try:
            found = self.pubsub.take(f"session:{sid}")
        except PubSubError as exc:
            logger.info("%s: not resumed: %s", connection, exc)
            return None
        if found is None:
            return None
        try:
            saved = msgspec.json.decode(found, type=SavedSession)
        except msgspec.DecodeError as exc:  # another version of us has saved it
            logger.info("%s: not resumed: %s", connection, exc)
            return None
        if (saved.identifiers, saved.origin) != (connection.words(), origin):
            logger.warning("%s came with the sid of %s", connection, saved.identifiers)
            return None
        return saved.subscriptions

    def sessions(self) -> Iterator[Session]:
        """The clients of this process that have a WebSocket."""
        for ws in list(self.endpoint.sockets):
            if isinstance(ws.listener, Session):
                yield ws.listener

    def clients(self) -> Iterator[Session | EventStream]:
        """The same, and those who listen to events."""
        yield from self.sessions()
        yield from list(self.event_streams)

    def connections(self) -> list[ConnectionInfo]:
        """What there is to tell of this process's clients."""
        return [client.info() for client in self.clients()]

    def statistics(self) -> Statistics:
        """What this process's sockets are doing."""
        endpoint, turn = self.endpoint, self.endpoint.turn
        return Statistics(
            sockets=len(endpoint.sockets) + len(self.event_streams),
            opened=endpoint.opened,
            closed=dict(endpoint.closed),
            refused=dict(endpoint.refused),
            streams=len(self.hub.streams),
            messages_in=endpoint.messages_in,
            messages_out=turn.messages_out,
            bytes_out=turn.bytes_out,
            conflated=turn.conflated + self.hub.conflated,
            ignored=self.ignored,
            healed=self.hub.healed,
            lost=self.hub.lost,
            replayed=self.hub.replayed,
            history_rejected=self.hub.refused,
        )

    def opened(
        self,
        ws: WebSocket,
        connection: Connection,
        refusal: CloseReason | None,
        *,
        confirm_repeats: bool,
        restore: dict[str, list[str]] | None = None,
    ) -> None:
        """A client's socket is open, and it is known whether it may stay."""
        origin = sys.intern(ws.headers.get("origin", ""))
        ws.release_request()
        if self.draining:  # since we said yes
            refusal = reasons.SERVER_RESTART
        if refusal is not None:
            ws.send_message(Message.text(messages.disconnect(refusal)))
            ws.start_close(refusal)
            return
        Session(self, ws, connection, self.rules[confirm_repeats], origin, restore)

    # Ending.

    def drain(self) -> None:
        """Send all sockets away, spread over ``drain_seconds``; wait till they went.

        New ones get a 503 from now on.
        """
        self.draining = True
        self.endpoint.close_all(
            reasons.SERVER_RESTART,
            spread_s=self.settings.drain_seconds,
            hurry=self._hurried,
            others=[stream.close for stream in self.event_streams],
        )
        self.endpoint.wait_closed(self.endpoint.limits.close_timeout_s)

    def hurry(self) -> None:
        """Somebody waits for :meth:`drain`: send all away now."""
        self._hurried.set()

    def stop(self) -> None:
        """End everything at once: sockets, heartbeats, greenlets, the adapter.

        What is used afterwards begins anew.
        """
        parts = vars(self)
        for part, end in _ENDS.items():
            if part in parts:
                getattr(parts[part], end)()
        for part in (*_ENDS, "hub", "listening"):
            parts.pop(part, None)
        self.draining = False
        self.running.discard(self)

    def _prolong(self) -> None:
        self.pubsub.prolong([CONTROL, *self.hub.remembered])

    # What comes from the adapter. Called in the loop's thread.

    def _deliver(self, stream: str, publication: Publication) -> None:
        if stream == CONTROL:
            self._orders.heard(publication)
            return
        self.hub.deliver(stream, publication)

    def _name_here(self, connection: str) -> str:
        """What an audience knows a connection as, by its id."""
        token, _, number = connection.partition("-")
        return number if token == self.token else ""

    def _resume(self, streams: list[str]) -> None:
        if CONTROL in streams:
            self.endpoint.workers.run(self._read_orders_back)
        self.hub.resume(streams)

    def _read_orders_back(self) -> None:
        while True:
            try:
                self._orders.catch_up(self.pubsub.recall(CONTROL))
                return
            except PubSubError as exc:
                logger.warning("orders of a gap could not be read back: %s", exc)
                if not self.pubsub.health().up:
                    return  # then there will be another gap
                gevent.sleep(_RETRY_S)

    def _obey(self, order: control.Disconnect) -> None:
        reason = reasons.REMOTE._replace(reconnect=order.reconnect)
        for client in self.clients():
            if client.connection.matches(order.identifiers):
                client.close(reason)


_ENDS = {
    "beats": "stop",
    "meter": "stop",
    "presence": "cancel",
    "listened": "cancel",
    "endpoint": "stop",
    "pubsub": "close",
}
"""How the parts that run end, in this order."""


def _beat(slot: Multicast) -> None:
    if len(slot):
        slot.send_text(messages.ping(int(time())))
