"""The connection to a cable, kept by a greenlet; it carries all subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import gevent
import msgspec
from gevent import getcurrent
from gevent.event import Event

from gateway.consumer.frames import BadFrame, Frame, read
from gateway.consumer.subscription import (
    ConsumerClosed,
    ConsumerSubscription,
    Disconnected,
)
from gateway.errors import ConnectionClosed, HandshakeRefused, LocalError
from gateway.websocket import Backoff, WebSocket, connect
from gateway.websocket.reconnect import is_final

__all__ = ["Consumer"]

logger = logging.getLogger("gateway.consumer")

_SUBPROTOCOLS = (
    "actioncable-v1-ext-json",
    "actioncable-v1-json",
    "actioncable-unsupported",
)
_STALE_S = 6.0  # two of the server's heartbeats
_RESUBSCRIBE_S = 0.5  # as Rails' client, until it is answered


class Consumer:
    """A connection to a cable, and its subscriptions.

    >>> from gateway import Consumer
    >>> consumer = Consumer("ws://127.0.0.1:1/cable")  # connects in the background
    >>> prices = consumer.subscribe("PricesChannel", shop=1, received=print)
    >>> prices.state
    'pending'
    >>> consumer.close()

    ``headers`` go with each upgrade request; ``token`` as ``Authorization: Bearer``,
    and may be a function that is asked anew each time; what it raises ends the
    consumer. Messages that nobody receives wait, ``max_waiting`` of each subscription.
    Further options are those of :func:`gateway.websocket.connect`.

    Callbacks are called one after the other, by the greenlet that hears the server:
    they must not wait for anything that it would have to hear. What they raise is
    logged.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | Callable[[], str] | None = None,
        backoff: Backoff | None = None,
        max_waiting: int = 10_000,
        **options: Any,
    ) -> None:
        if max_waiting < 1:
            raise LocalError(f"max_waiting is {max_waiting}: give messages, 1 or more")
        self._max_waiting = max_waiting
        self._url = url
        self._headers = dict(headers or {})
        self._token = token
        self._backoff = backoff or Backoff()
        self._options = options
        self._subscriptions: dict[str, ConsumerSubscription] = {}
        self._ws: WebSocket | None = None
        self._over: Exception | None = None
        self._welcomed = Event()
        self._opened_before = False
        self._again = False
        self._keeper = gevent.spawn(self._keep)

    @property
    def connected(self) -> bool:
        """Whether the server has welcomed us on the connection of the moment."""
        return self._over is None and self._welcomed.is_set()

    def wait_connected(self, timeout: float | None = 10.0) -> Consumer:
        """Wait until the server welcomes us, and return this.

        Raises:
            TimeoutError: it did not in ``timeout`` seconds.
            HandshakeRefused, ConnectionClosed: it never will. Or what ``token`` raised.
        """
        if not self._welcomed.wait(timeout):
            raise TimeoutError(f"{self._address} did not welcome us in {timeout} s")
        if self._over is not None:
            raise self._over
        return self

    def subscribe(
        self,
        channel: str,
        *,
        received: Callable[[Any], object] | None = None,
        connected: Callable[[bool], object] | None = None,
        disconnected: Callable[[bool], object] | None = None,
        rejected: Callable[[], object] | None = None,
        history_lost: Callable[[], object] | None = None,
        presence: Callable[[Any], object] | None = None,
        params: Mapping[str, Any] | None = None,
        **more_params: Any,
    ) -> ConsumerSubscription:
        """Subscribe to a channel with parameters, now or as soon as we are connected.

        Callbacks: ``received`` is given each message; ``connected`` is told whether it
        is a reconnection, ``disconnected`` whether there will be one; ``rejected`` and
        ``history_lost``, that what was missed cannot be told, are told nothing;
        ``presence`` is given events, as in docs/protocol.md. Parameters that are called
        like one of them go into ``params``.

        Raises:
            LocalError: there is such a subscription already.
        """
        given = {"channel": channel, **(params or {}), **more_params}
        identifier = msgspec.json.encode(given).decode()
        if identifier in self._subscriptions:
            raise LocalError(f"this consumer is subscribed to {identifier} already")
        callbacks = {
            "received": received,
            "connected": connected,
            "disconnected": disconnected,
            "rejected": rejected,
            "history_lost": history_lost,
            "presence": presence,
        }
        called = {name: call for name, call in callbacks.items() if call is not None}
        for name, call in called.items():
            if not callable(call):
                raise LocalError(
                    f"{name} is {call!r}, which cannot be called: a parameter of this "
                    f"name goes into params={{{name!r}: {call!r}}}"
                )
        subscription = ConsumerSubscription(self, identifier, called)
        self._subscriptions[identifier] = subscription
        if self._over is not None:
            subscription._end("closed", self._over)
        elif self.connected:
            self._send(subscription._command())
        return subscription

    def close(self) -> None:
        """Close the connection, and stay away; subscriptions are ``disconnected``."""
        ws = self._ws
        self._end(ConsumerClosed("this consumer was closed"))
        if ws is not None:
            ws.close()
        if getcurrent() is not self._keeper:
            self._keeper.kill()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The greenlet that keeps the connection.

    def _keep(self) -> None:
        try:
            self._stay_connected()
        except (Exception, gevent.Timeout) as exc:
            logger.exception("the consumer of %s ends", self._address)
            self._end(exc if isinstance(exc, Exception) else TimeoutError(str(exc)))

    def _stay_connected(self) -> None:
        retries = 0
        while self._over is None:
            try:
                ws = self._open()
            except (HandshakeRefused, LocalError, OSError) as exc:
                if is_final(exc):
                    self._end(exc)
                    return
                logger.info("not connected: %s", exc)
            else:
                opened_at = monotonic()
                self._ws = ws
                farewell = self._listen(ws)
                self._ws = None
                if self._over is None:
                    self._welcomed.clear()
                ws.abort()
                if farewell is not None:
                    self._end(farewell)
                else:
                    self._tell_disconnected(will_reconnect=self._over is None)
                if monotonic() - opened_at >= self._backoff.stable_s:
                    retries = 0
            if self._over is None:
                gevent.sleep(self._backoff.delay(retries))
                retries += 1

    def _open(self) -> WebSocket:
        ws: WebSocket = connect(
            self._url,
            headers=self._request_headers(),
            subprotocols=_SUBPROTOCOLS,
            **self._options,
        )
        return ws

    def _request_headers(self) -> dict[str, str]:
        if self._token is None:
            return self._headers
        token = self._token() if callable(self._token) else self._token
        return {**self._headers, "Authorization": f"Bearer {token}"}

    def _listen(self, ws: WebSocket) -> Disconnected | None:
        """Until it is gone or stale; returns why not to come back, if we must not."""
        heard_at = asked_at = monotonic()
        while True:
            now = monotonic()
            if now - asked_at >= _RESUBSCRIBE_S:
                asked_at = now
                self._subscribe_all()
            try:
                frame = read(ws.receive(timeout=_RESUBSCRIBE_S))
            except TimeoutError:
                if monotonic() - heard_at > _STALE_S:
                    logger.info("nothing heard for %s s: reconnecting", _STALE_S)
                    return None
            except BadFrame as exc:
                logger.warning("%s: %s: reconnecting", self._address, exc)
                return None
            except ConnectionClosed:
                return None
            else:
                heard_at = monotonic()
                if frame.type == "disconnect":
                    final = frame.reconnect is not True
                    return Disconnected(frame.reason) if final else None
                self._hear(frame)

    def _hear(self, frame: Frame) -> None:
        subscription = self._subscriptions.get(frame.identifier)
        match frame.type:
            case "welcome":
                self._again, self._opened_before = self._opened_before, True
                self._welcomed.set()
                self._subscribe_all()
            case "confirm_subscription" if subscription is not None:
                if subscription.state == "pending":
                    subscription._confirmed(frame, self._again)
            case "reject_subscription" if subscription is not None:
                del self._subscriptions[subscription.identifier]
                subscription._rejected()
            case "reject_history" if subscription is not None:
                subscription._history_lost()
            case "presence" if subscription is not None:
                subscription._call("presence", frame.message)
            case None if subscription is not None:
                subscription._received(frame)

    def _subscribe_all(self) -> None:
        """Ask for all that are not confirmed, as often as it takes."""
        if self.connected:
            for subscription in list(self._subscriptions.values()):
                if subscription.state == "pending":
                    self._send(subscription._command())

    def _send(self, command: dict[str, Any]) -> bool:
        """Say something to the server; False if there is no connection just now."""
        ws = self._ws
        if ws is None or not self.connected:
            return False
        try:
            ws.send_json(command)
        except ConnectionClosed:
            logger.debug("not sent, the connection is gone: %s", command["command"])
            return False
        return True

    def _forget(self, subscription: ConsumerSubscription) -> None:
        """It is unsubscribed."""
        identifier = subscription.identifier
        if self._subscriptions.get(identifier) is subscription:
            del self._subscriptions[identifier]
            self._send({"command": "unsubscribe", "identifier": identifier})
            subscription._end(
                "unsubscribed", ConsumerClosed(f"we unsubscribed from {identifier}")
            )

    def _tell_disconnected(self, *, will_reconnect: bool) -> None:
        for subscription in list(self._subscriptions.values()):
            subscription._disconnected(will_reconnect)

    def _end(self, why: Exception) -> None:
        if self._over is None:
            self._over = why
            self._welcomed.set()  # who waits shall see that it is over
            self._tell_disconnected(will_reconnect=False)
            for subscription in list(self._subscriptions.values()):
                subscription._end("closed", why)

    @property
    def _address(self) -> str:
        """Where it connects to, for messages: what follows may be secret."""
        return self._url.partition("?")[0]
