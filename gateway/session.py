"""One client: its socket below, its connection and subscriptions above."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

import gevent
import msgspec

from gateway import reasons
from gateway.cable import messages
from gateway.cable.connection import Connection
from gateway.cable.filtering import filtered
from gateway.cable.messages import Command
from gateway.cable.subscriptions import Rules, Subscriptions
from gateway.clock import LoopTimer, OneAtATime
from gateway.errors import CommandError, PubSubError
from gateway.reasons import CloseReason
from gateway.signals import SIGNALS, announce
from gateway.websocket.frames import Message
from gateway.websocket.outbox import Outbox
from gateway.websocket.socket import WebSocket

if TYPE_CHECKING:
    from gateway.server import CableServer

__all__ = ["ConnectionInfo", "SavedSession", "Session"]

logger = logging.getLogger("gateway.cable")


_WELCOME = Message.text(messages.WELCOME)


class SavedSession(msgspec.Struct, frozen=True):
    """What is kept of a lost connection, for whoever comes back with its ``sid``."""

    identifiers: dict[str, str]
    """Whose it was; nobody else can take it up."""
    origin: str
    """From which page; no other page can."""
    subscriptions: dict[str, list[str]]
    """What it was subscribed to, and which streams it heard there."""


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One open connection, as :meth:`Gateway.connections` tells of it.

    >>> info = ConnectionInfo(
    ...     id="a-1", identifiers={}, since=0.0, subscriptions=[], bytes_in=0,
    ...     bytes_out=0, waiting_bytes=0,
    ... )
    """

    id: str
    identifiers: dict[str, Any]
    since: float
    """Unix seconds."""
    subscriptions: list[str]
    """Their identifiers."""
    bytes_in: int
    bytes_out: int
    waiting_bytes: int
    """Sent by the program but not taken by the client yet."""


class Session:
    """The socket's listener, and the wire that the cable talks to."""

    __slots__ = (
        "_beat",
        "_held",
        "_origin",
        "_server",
        "_sid",
        "_since",
        "_subscriptions",
        "connection",
        "extended",
        "ws",
    )

    def __init__(
        self,
        server: CableServer,
        ws: WebSocket,
        connection: Connection,
        rules: Rules,
        origin: str = "",
        restore: dict[str, list[str]] | None = None,
    ) -> None:
        self.ws = ws
        self.connection = connection
        self._server = server
        self._origin = origin
        self.extended = ws.subprotocol == messages.EXTENDED
        self._since = time()
        self._sid = ""
        self._held: list[bytes] | None = None  # what may only follow the welcome
        self._subscriptions = Subscriptions(
            connection, self, server.hub, server.channels, rules
        )
        connection.attach(self)
        self._beat = server.beats.next_slot()
        ws.listen(self)
        if restore:
            self._held = []
            ws.post(self._in_context(self._restore, restore))
        else:
            self._welcome(None)
        if SIGNALS["connected"].receivers:
            ws.post(self._in_context(self.announce, "connected", connection=connection))

    def _restore(self, saved: dict[str, list[str]]) -> None:
        """Take up the subscriptions of a connection that was lost."""
        restored = self._subscriptions.restore(saved)
        held, self._held = self._held or [], None
        self._welcome(restored)
        self._subscriptions.expect()
        for payload in held:
            self.send_text(payload)

    def _welcome(self, restored: list[str] | None) -> None:
        if self.extended:
            self._sid = secrets.token_urlsafe(16)
            self.send_text(messages.welcome(self._sid, restored))
        else:
            self.ws.outbox.put(_WELCOME)
        self._beat.add(self.ws.outbox)

    def _save(self) -> None:
        """Leave behind what the client needs to take up where it was.

        Not if nobody knows who it is: whoever came with its ``sid`` would be it.
        """
        if not (self.extended and _is_resumable(self.ws)):
            return
        words = self.connection.words()
        if not words:
            return
        saved = SavedSession(words, self._origin, self._subscriptions.streams)
        try:
            self._server.pubsub.keep(
                f"session:{self._sid}",
                msgspec.json.encode(saved),
                self._server.settings.session_ttl,
            )
        except PubSubError as exc:
            logger.info("%s: not resumable: %s", self.connection, exc)

    def info(self) -> ConnectionInfo:
        """What there is to tell."""
        return ConnectionInfo(
            id=self.id,
            identifiers=self.connection.identifiers,
            since=self._since,
            subscriptions=self._subscriptions.identifiers,
            bytes_in=self.ws.bytes_in,
            bytes_out=self.ws.outbox.bytes_out,
            waiting_bytes=self.ws.outbox.waiting_bytes,
        )

    # The wire.

    failures = (Exception, gevent.Timeout)

    @property
    def id(self) -> str:
        return f"{self._server.token}-{self.ws.id}"

    @property
    def member(self) -> Outbox:
        return self.ws.outbox

    @property
    def waiting(self) -> int:
        return self.ws.waiting

    def send_text(self, payload: bytes) -> None:
        if self._held is None:
            self.ws.outbox.put(Message.text(payload))
        else:
            self._held.append(payload)

    def close(self, reason: CloseReason) -> None:
        self.ws.start_close(reason)

    def post(self, job: Callable[[], object]) -> None:
        self.ws.post(self._in_context(job))

    def every(self, seconds: float, job: Callable[[], object]) -> LoopTimer:
        return LoopTimer(seconds, OneAtATime(self.post, job), repeat=True)

    def later(self, seconds: float, job: Callable[[], object]) -> LoopTimer:
        return LoopTimer(seconds, lambda: self.post(job))

    def announce(self, event: str, /, **about: Any) -> None:
        announce(self._server.app, event, **about)

    # The listener.

    def received(self, message: str | bytes) -> None:
        try:
            if isinstance(message, bytes):
                raise CommandError("binary message: this protocol is text")
            command = messages.read_command(message)
            if logger.isEnabledFor(logging.DEBUG):
                self._log(command)
            with self._server.context():
                self._execute(command)
        except CommandError as exc:
            self._server.ignored += 1
            logger.info("%s: ignored: %s", self.connection, exc)

    def closed(self, ws: WebSocket) -> None:
        connection, reason = self.connection, ws.close_reason
        self._beat.discard(ws.outbox)
        with self._server.context():
            if reason is reasons.TOO_SLOW:
                self.announce("too_slow", connection=connection)
            for name, step in (
                ("saving", self._save),
                ("unsubscribing", partial(self._subscriptions.close, lingering=True)),
                ("disconnect", connection.disconnect),
            ):
                self._attempt(name, step)
            self.announce("disconnected", connection=connection, reason=reason)

    def farewell(self, reason: CloseReason) -> str | None:
        return messages.disconnect(reason).decode()

    def _execute(self, command: Command) -> None:
        connection = self.connection
        if not connection.before and not connection.after:
            self._subscriptions.execute(command)
            return
        try:
            for name in connection.before:
                getattr(connection, name)()
            self._subscriptions.execute(command)
        except CommandError:
            raise
        except self.failures as exc:
            self._failed("before_command", exc)
        finally:
            for name in connection.after:
                self._attempt("after_command", getattr(connection, name))

    def _attempt(self, name: str, step: Callable[[], object]) -> None:
        """Do something that shall keep nothing else from being done."""
        try:
            step()
        except self.failures as exc:
            self._failed(name, exc)

    def _failed(self, name: str, error: BaseException) -> None:
        """Give an exception to the connection, or log it."""
        try:
            rescued = self.connection.rescue(error)
        except self.failures:
            logger.exception("%s: rescuing from %r failed", self.connection, error)
        else:
            if not rescued:
                about = self.connection, name
                logger.error("%s: %s failed", *about, exc_info=error)

    def _in_context(
        self, job: Callable[..., object], *args: Any, **kwargs: Any
    ) -> Callable[[], None]:
        def run() -> None:
            with self._server.context():
                job(*args, **kwargs)

        return run

    def _log(self, command: Command) -> None:
        """What the client wants, without its secrets."""
        secret = self._server.settings.filter_parameters
        shown: list[Any] = []
        for text in (command.identifier, command.data):
            try:
                shown.append(filtered(messages.read_object(text, "it"), secret))
            except CommandError:
                shown.append("-")
        logger.debug("%s: %s %s %s", self.connection, command.command, *shown)


def _is_resumable(ws: WebSocket) -> bool:
    """Whether the client may come back with its ``sid``: not if we sent it away."""
    reason = ws.close_reason
    return reason is not None and reason.name in ("closed_by_peer", "lost", "no_pong")
