"""One connection to Redis that listens, and heals.

A greenlet reads it. When it breaks, or Redis falls silent, it is made anew, for ever,
and everything is subscribed to again; who wants to hear of the gap is told. A
subscription counts as live when Redis has acknowledged the last command sent for it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
import redis
from gevent.event import Event
from gevent.lock import RLock
from redis.connection import Connection
from redis.crc import key_slot

from gateway.pubsub.redis_servers import FAILURES

__all__ = ["RedisListener"]

logger = logging.getLogger("gateway.pubsub")

_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 1.0
_CHUNK = 500  # channels subscribed to in one command


class _Interest:
    """What Redis was asked about one channel, and what it has acknowledged."""

    __slots__ = ("acknowledged", "asked", "gap", "live")

    def __init__(self, *, gap: bool) -> None:
        self.asked = 0
        self.acknowledged = 0
        self.live = Event()
        self.gap = gap  # whether messages may have been lost since it was live last

    def lose(self) -> None:
        """It is not live any longer."""
        if self.live.is_set():
            self.gap = True
            self.live.clear()


class RedisListener:
    """Subscriptions to the channels of one Redis server.

    ``connect`` makes a connection, unopened. ``deliver(channel, data)`` is called for
    each message. ``moved(channels)`` is called when this server of a cluster
    (``sharded``) does not serve them any longer, or may not. The two must not wait.
    ``resumed(channels)`` is called, and may wait, when they are live again after a gap,
    in which messages may have been lost. Redis is sent a PING twice in ``timeout_s``;
    if nothing at all comes for twice that time, it hangs, or the network is gone.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        deliver: Callable[[bytes, bytes], None],
        resumed: Callable[[list[bytes]], None],
        moved: Callable[[list[bytes]], None],
        timeout_s: float,
        *,
        sharded: bool = False,
    ) -> None:
        self.up = False
        """Whether Redis answers."""
        self.reconnects = 0
        self.lag_s = 0.0
        """How long Redis took to answer the last PING."""
        self.error: Exception | None = None
        """Why it is not up."""
        self._connect = connect
        self._deliver = deliver
        self._resumed = resumed
        self._moved = moved
        self._timeout_s = timeout_s
        self._shard = "S" if sharded else ""
        self._wanted: dict[bytes, _Interest] = {}
        self._abandoned: dict[bytes, int] = {}  # acknowledgements to ignore
        self._connection: Connection | None = None
        self._broken: Exception | None = None  # why it could not be spoken to
        self._sending = RLock()
        self._pinged_at: float | None = None
        self._back: list[bytes] = []  # live again, and nobody has been told yet
        self._teller: gevent.Greenlet[..., None] | None = None
        self._delay = _FIRST_RETRY_S
        self._stopping = Event()
        self._greenlet = gevent.spawn(self._run)

    @property
    def channels(self) -> list[bytes]:
        """Those it listens to, or will."""
        return list(self._wanted)

    def subscribe(self, channel: bytes, *, gap: bool = False) -> None:
        """Begin to listen to a channel, if we do not; does not wait for Redis.

        After a ``gap`` it is among those that ``resumed`` is told.
        """
        if channel not in self._wanted:
            self._wanted[channel] = _Interest(gap=gap)
            self._ask([channel])

    def wait(self, channel: bytes, timeout_s: float) -> bool:
        """Wait until the channel is live; False if it is not in time."""
        interest = self._wanted.get(channel)
        if interest is None:
            return False
        # Who waits for a gevent event that is set but has not woken all yet is never
        # woken if those others give up in between.
        return interest.live.is_set() or bool(interest.live.wait(timeout_s))

    def unsubscribe(self, channel: bytes) -> None:
        """No longer listen to it."""
        interest = self._wanted.pop(channel, None)
        if interest is None:
            return
        if interest.asked > interest.acknowledged:
            left = self._abandoned.get(channel, 0)
            self._abandoned[channel] = left + interest.asked - interest.acknowledged
        with self._sending:
            if channel not in self._wanted:  # by somebody who came while we waited
                self._send(f"{self._shard}UNSUBSCRIBE", channel)

    def forget(self, channel: bytes) -> bool:
        """It is somebody else's now. Returns whether messages may have been lost."""
        interest = self._wanted.pop(channel, None)
        return interest is not None and (interest.gap or interest.live.is_set())

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._drop()
        self._greenlet.join()
        if self._teller:
            self._teller.kill()

    # Speaking. Any greenlet may; one at a time on the socket, which decides in that
    # order what Redis is to do.

    def _ask(self, channels: list[bytes]) -> None:
        size = 1 if self._shard else _CHUNK
        for start in range(0, len(channels), size):
            with self._sending:
                asked = [c for c in channels[start : start + size] if c in self._wanted]
                for channel in asked:
                    self._wanted[channel].asked += 1
                if asked:
                    self._send(f"{self._shard}SUBSCRIBE", *asked)

    def _send(self, *command: Any) -> None:
        with self._sending:
            connection = self._connection
            if connection is None:
                return  # the next connection begins by asking for all that is wanted
            try:
                connection.send_command(*command, check_health=False)
            except FAILURES as exc:
                self._broken = exc
                self._drop()

    def _drop(self) -> None:
        """Give the connection up; the reader notices and makes another."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.disconnect()

    # Listening: one greenlet.

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._open()
                self._read()
            except FAILURES as exc:
                self._lost(exc)
            except Exception as exc:  # nobody else would ever make it anew
                logger.exception("listening to Redis failed")
                self._lost(exc)
            self._stopping.wait(self._delay * random.uniform(0.5, 1.0))
            self._delay = min(self._delay * 2, _LAST_RETRY_S)

    def _lost(self, why: Exception) -> None:
        if self._stopping.is_set():
            return
        if self.error is None:
            logger.warning("Redis is gone: %s; trying to get it back", why)
        self.up, self.error = False, why
        self._drop()
        self._leave(self.channels)

    def _open(self) -> None:
        connection = self._connect()
        connection.connect()
        for interest in self._wanted.values():
            interest.asked = interest.acknowledged = 0
        self._abandoned.clear()
        self._connection = connection
        self._pinged_at = None
        self._ask(self.channels)
        self.up = True
        self.reconnects += 1

    def _read(self) -> None:
        heard_at = monotonic()
        ask_at = heard_at + self._timeout_s / 2
        while (connection := self._connection) is not None:
            try:
                reply = connection.read_response(
                    disable_decoding=True,
                    timeout=self._timeout_s / 2,
                    disconnect_on_error=False,
                )
            except redis.TimeoutError:
                reply = None
            except redis.exceptions.MovedError as exc:
                slot = exc.slot_id
                self._leave([each for each in self._wanted if key_slot(each) == slot])
                continue
            now = monotonic()
            if now >= ask_at:
                ask_at = now + self._timeout_s / 2
                self._ping()
            if reply is None:
                self._silent(now - heard_at)
                continue
            heard_at = now
            if self.error is not None:
                logger.warning("Redis is back")
                self.error = None
            self._delay = _FIRST_RETRY_S
            if isinstance(reply, list):
                self._hear(reply)
            else:  # to a PING while nothing is subscribed to
                self._ponged()
        raise redis.ConnectionError("the connection was given up") from self._broken

    def _silent(self, silence_s: float) -> None:
        if silence_s > 2 * self._timeout_s:
            raise redis.TimeoutError(
                f"nothing for {silence_s:.1f} s, not even an answer to a PING"
            )

    def _hear(self, reply: list[Any]) -> None:
        kind, channel = bytes(reply[0]), reply[1]
        if kind in (b"message", b"smessage"):
            try:
                self._deliver(channel, reply[2])
            except Exception:
                logger.exception("a message on %r could not be delivered", channel)
        elif kind in (b"subscribe", b"ssubscribe"):
            self._acknowledged(channel)
        elif kind == b"sunsubscribe":
            interest = self._wanted.get(channel)
            if interest is not None and interest.live.is_set():
                # We did not ask for it: its slot has moved to another node.
                self._leave([channel])
        elif kind == b"pong":
            self._ponged()

    def _acknowledged(self, channel: bytes) -> None:
        left = self._abandoned.pop(channel, 0)
        if left:  # of a subscription that was taken back
            if left > 1:
                self._abandoned[channel] = left - 1
            return
        interest = self._wanted.get(channel)
        if interest is None:
            return
        interest.acknowledged += 1
        if interest.acknowledged < interest.asked:
            return
        interest.live.set()
        if interest.gap:
            self._back.append(channel)
            if not self._teller:
                self._teller = gevent.spawn(self._tell)

    def _tell(self) -> None:
        """Say that there was a gap: of all that are live again at this moment."""
        while self._back:
            back, self._back = self._back, []
            resumed = []
            for channel in back:
                interest = self._wanted.get(channel)
                if interest is not None and interest.live.is_set():
                    interest.gap = False
                    resumed.append(channel)
            logger.info("%d streams are live again, after a gap", len(resumed))
            try:
                self._resumed(resumed)
            except Exception:
                logger.exception("what was lost in a gap could not be read back")

    def _leave(self, channels: list[bytes]) -> None:
        """These are not live any longer; in a cluster they may be so elsewhere."""
        for channel in channels:
            self._wanted[channel].lose()
        if self._shard:
            self._moved(channels)

    def _ping(self) -> None:
        if self._pinged_at is None:
            self._pinged_at = monotonic()
            self._send("PING")

    def _ponged(self) -> None:
        if self._pinged_at is not None:
            self.lag_s = monotonic() - self._pinged_at
            self._pinged_at = None
