"""One connection's commands, carried out one after the other.

A command we cannot carry out raises :exc:`CommandError`, which is logged by the caller;
the connection goes on. A ``subscribe`` is always answered. A repeated one only to
Rails' client, which else repeats it for ever, and only if it was sent after the
confirmation; AnyCable's would take a second confirmation for a mistake and unsubscribe.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cable import messages
from gateway.cable.channel import Channel
from gateway.cable.connection import Connection, Wire
from gateway.cable.filtering import cut, shown
from gateway.cable.hub import Hub
from gateway.cable.messages import Command, PresenceJoin
from gateway.cable.subscription import State, Subscription
from gateway.errors import CommandError, PubSubError

__all__ = ["Registry", "Rules", "Subscriptions"]

logger = logging.getLogger("gateway.cable")

Registry = Mapping[str, type[Channel]]
"""The channels that clients may name. A class that is not in it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one client may do, and how it likes to be answered."""

    confirm_repeats: bool = True
    max_subscriptions: int = 1000
    max_identifier_bytes: int = 8192
    filter_parameters: tuple[str, ...] = ()
    """What is secret in identifiers: logs do not show it."""
    max_presence_bytes: int = 4096
    max_outgoing_bytes: int = 2**20


class Subscriptions:
    """A connection's subscriptions, by identifier."""

    __slots__ = (
        "_by_identifier",
        "_connection",
        "_hub",
        "_registry",
        "_rules",
        "_sent_unconfirmed",
        "_wire",
    )

    def __init__(
        self,
        connection: Connection,
        wire: Wire,
        hub: Hub,
        registry: Registry,
        rules: Rules,
    ) -> None:
        self._connection = connection
        self._wire = wire
        self._hub = hub
        self._registry = registry
        self._rules = rules
        self._by_identifier: dict[str, Subscription] = {}
        # So many of the next commands were sent before the last confirmation was.
        self._sent_unconfirmed = 0

    def __len__(self) -> int:
        return len(self._by_identifier)

    @property
    def identifiers(self) -> list[str]:
        """Those of the live subscriptions."""
        return list(self._by_identifier)

    @property
    def streams(self) -> dict[str, list[str]]:
        """What each of them streams, by identifier."""
        return {
            identifier: subscription.streams.names
            for identifier, subscription in self._by_identifier.items()
        }

    def execute(self, command: Command) -> None:
        """Carry out one command of the client.

        Raises:
            CommandError: it cannot be carried out; says what is wrong with it.
        """
        early = self._sent_unconfirmed > 0
        self._sent_unconfirmed -= early
        try:
            self._carry_out(command, confirm_repeat=not early)
        except PubSubError as exc:
            raise CommandError(f"{cut(command.command)} cannot be done: {exc}") from exc

    def _carry_out(self, command: Command, *, confirm_repeat: bool) -> None:
        match command.command:
            case "subscribe":
                self._subscribe(command, confirm_repeat=confirm_repeat)
            case "unsubscribe":
                self._find(command).end()
                self.forget(command.identifier)
            case "message":
                subscription = self._find(command)
                subscription.perform(messages.read_object(command.data, "data"))
            case extended if self._wire.extended:
                self._execute_extended(extended, command)
            case unknown:
                raise CommandError(f"unknown command {cut(unknown)!r}")

    def _execute_extended(self, name: str, command: Command) -> None:
        match name:
            case "history":
                self._find_confirmed(command).recover(command.history)
            case "whisper":
                self._find_confirmed(command).whisper(command.data)
            case "join":
                self._enter(self._find_confirmed(command), command)
            case "leave":
                self._find_confirmed(command).leave()
            case "presence":
                data = command.data if isinstance(command.data, dict) else {}
                records = data.get("return_records") is not False
                self._find_confirmed(command).tell_presence(
                    records=records, max_bytes=self._rules.max_outgoing_bytes
                )
            case "ping":
                self._wire.send_text(messages.PONG)
            case "pong":
                pass  # whatever comes from a client shows that it lives
            case unknown:
                raise CommandError(f"unknown command {cut(unknown)!r}")

    def restore(self, saved: Mapping[str, list[str]]) -> list[str]:
        """Subscribe anew to what a lost connection was subscribed to, by identifier.

        ``saved`` says what each streamed then. The client is not asked and not told;
        returns what it need not ask for. Behind the welcome that tells it so comes
        :meth:`expect`. What cannot be as it was is left out: a channel that streams
        something else than it did, or defers its confirmation.
        """
        restored: list[str] = []
        for identifier, streams in saved.items():
            try:
                channel = self._make(identifier)
            except CommandError:
                continue
            subscription = Subscription(channel, self._wire, self._hub, self)
            self._by_identifier[channel.identifier] = subscription
            subscription.begin(restored=True)
            if subscription.state is State.REJECTED:
                continue
            names = subscription.streams.names
            if subscription.state is State.CONFIRMED and not {*streams} - {*names}:
                restored.append(identifier)
            else:
                subscription.end()
                self.forget(identifier)
        return restored

    def expect(self) -> None:
        """The client knows what was restored: it will ask for what it missed."""
        for subscription in tuple(self._by_identifier.values()):
            subscription.expect()

    def forget(self, identifier: str) -> None:
        """A subscription is over."""
        self._by_identifier.pop(identifier, None)

    def close(self, *, lingering: bool = False) -> None:
        """The connection is gone: end all subscriptions."""
        while self._by_identifier:
            subscription = self._by_identifier.popitem()[1]
            try:
                subscription.end(lingering=lingering)
            except self._wire.failures:
                logger.exception("%s could not be ended", subscription.channel)

    def _find(self, command: Command) -> Subscription:
        subscription = self._by_identifier.get(command.identifier)
        if subscription is None:
            raise CommandError(f"not subscribed to {self._shown(command.identifier)}")
        return subscription

    def _find_confirmed(self, command: Command) -> Subscription:
        """One that is let in: before that, its streams are none of the client's."""
        subscription = self._find(command)
        if subscription.state is not State.CONFIRMED:
            raise CommandError(f"{subscription.channel} is not confirmed yet")
        return subscription

    def _subscribe(self, command: Command, *, confirm_repeat: bool) -> None:
        identifier = command.identifier
        known = self._by_identifier.get(identifier)
        if known is not None:
            again = self._rules.confirm_repeats and confirm_repeat
            if again and known.state is State.CONFIRMED:
                self._wire.send_text(messages.confirmation(identifier))
            return
        try:
            channel = self._make(identifier)
        except CommandError:
            self._wire.send_text(messages.rejection(identifier))
            raise
        subscription = Subscription(channel, self._wire, self._hub, self)
        self._by_identifier[channel.identifier] = subscription
        subscription.begin(command.history if self._wire.extended else None)
        self._sent_unconfirmed = self._wire.waiting
        if command.presence is not None and self._wire.extended:
            self._enter(subscription, command)

    def _enter(self, subscription: Subscription, command: Command) -> None:
        who = messages.read_as(command.presence, PresenceJoin, "presence")
        size, limit = len(messages.encode(who.info)), self._rules.max_presence_bytes
        if size > limit:
            raise CommandError(
                f"max_presence_bytes: the info of {who.id[:200]!r} has {size} bytes, "
                f"{limit} are allowed"
            )
        subscription.enter(who)

    def _make(self, identifier: str) -> Channel:
        rules = self._rules
        size = len(identifier.encode(errors="surrogatepass"))
        if size > rules.max_identifier_bytes:
            raise CommandError(
                f"max_identifier_bytes: the identifier has {size} bytes, "
                f"{rules.max_identifier_bytes} are allowed"
            )
        if len(self) >= rules.max_subscriptions:
            raise CommandError(
                f"max_subscriptions: there are {len(self)} already on this connection"
            )
        params = messages.read_identifier(identifier)
        # Many clients send the same strings; so they are kept once.
        name = params["channel"] = sys.intern(params["channel"])
        cls = self._registry.get(name)
        if cls is None:
            raise CommandError(f"no channel is registered as {cut(name)!r}")
        try:
            return cls(self._connection, sys.intern(identifier), params)
        except self._wire.failures as exc:
            logger.exception("%s %s cannot be made", self._connection, cls.__name__)
            raise CommandError(f"{cls.__name__} cannot be made: {exc!r}") from exc

    def _shown(self, identifier: str) -> str:
        return shown(identifier, self._rules.filter_parameters)
