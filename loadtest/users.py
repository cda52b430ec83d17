"""Locust users that are one parked WebSocket each: no greenlet, no stack.

Locust counts greenlets, so each user has one that never starts: its seat. Its socket
opens in a greenlet that ends as soon as it is open; from then on the user is called.
"""

from __future__ import annotations

from time import monotonic, time_ns
from typing import Any

import gevent
from gevent import Greenlet
from gevent.pool import Group
from locust import User
from locust.user.task import LOCUST_STATE_RUNNING

from gateway.errors import ConnectionClosed
from gateway.reasons import CloseReason
from gateway.websocket import WebSocket
from loadtest.dialects import Cable, Dialect
from loadtest.failures import explain
from loadtest.lab import Lab
from loadtest.ledger import Ledger, Speech
from loadtest.samples import LATE_S
from loadtest.sequence import Sequence
from loadtest.stamps import Stamp, find, read

__all__ = ["CableUser", "WebSocketUser"]


def _sit(user: WebSocketUser) -> None:
    """What a seat would do if it were ever started."""


class WebSocketUser(User):
    """Opens a bare socket, gets ready as its dialect says, and hears a stream.

    Scenarios override :attr:`room`, :meth:`ready` and :meth:`heard`; they may call
    :meth:`send`, :meth:`leave`, :meth:`cut` and :meth:`open_later`.

    >>> from loadtest.scenarios import Scenario
    >>> class Reader(WebSocketUser):
    ...     lab = Lab(Scenario("news", "…"), rooms=lambda options: ["news"])
    """

    abstract = True
    tasks = [_sit]  # Locust warns of users that have none
    lab: Lab
    dialect: Dialect = Dialect()
    """What it speaks unless ``--dialect`` says otherwise; then see ``lab.dialect``."""

    _last: tuple[str | None, Stamp | None] = (None, None)  # shared: all hear the same

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.ws: WebSocket | None = None
        self.sequence: Sequence | None = None
        self.let_in_ns = 0  # since when it is in the ledger; 0: it is not
        self.index = 0
        self._opened = 0.0
        self._open = False  # whether this socket was let in
        self._came = False  # whether one of ours was, ever
        self._unwanted = False

    @property
    def room(self) -> str:
        """Where this user is."""
        return self.lab.scenario.name

    # What Locust says.

    def start(self, group: Group) -> Greenlet[..., Any]:
        """Take a seat, and come when it is our turn."""
        seat: Greenlet[..., Any] = Greenlet(_sit, self)  # Locust looks at args[0]
        seat.rawlink(self._unseated)
        group.add(seat)
        self._group, self._greenlet = group, seat
        self._state = LOCUST_STATE_RUNNING
        self.lab.arrive(self)
        return seat

    def _unseated(self, _: object) -> None:
        self._unwanted = True
        self.let_in_ns = 0
        self.cut()

    # Opening and closing.

    def open(self, due: float) -> None:
        """Connect, which should have been at ``due`` (of the monotonic clock).

        A failure is counted, and not tried again.
        """
        if self._unwanted:
            return
        samples = self.lab.samples
        samples.count("tried")
        if monotonic() - due > LATE_S:
            samples.count("opened_late")
        try:
            ws = self.lab.connect()
        except Exception as exc:  # whatever it is, somebody is missing
            self._turned_away("connect", explain(exc, self.lab.url))
            return
        samples.latency("connect", monotonic() - due)
        samples.count("opened")
        self.lab.sockets += 1
        self.ws, self._open, self._opened = ws, False, monotonic()
        ws.release_request()
        ws.listen(self)
        if self._unwanted:
            self.cut()
        elif self.lab.dialect.is_ready(None, self.room):
            self._let_in()
        elif self.lab.dialect.invites(None):
            self.send(self.join())

    def open_later(self, seconds: float) -> None:
        """Connect again after a while."""
        gevent.spawn_later(seconds, self.open, monotonic() + seconds)

    def cut(self) -> None:
        """Drop the connection without a word; we still want all that is sent."""
        ws, self.ws = self.ws, None
        if ws is not None:
            ws.abort()

    def leave(self) -> None:
        """Close the socket in good order; what is sent from now on is not for us."""
        ws, self.ws = self.ws, None
        self.retire()
        if ws is not None:
            ws.close()

    def retire(self) -> None:
        """Enter what was heard into the ledger; the next message begins anew."""
        heard, self.sequence = self.sequence, None
        since, self.let_in_ns = self.let_in_ns, 0
        if since:
            self.lab.left(self.room, since, heard)

    def account(self, ledger: Ledger, speech: Speech | None) -> None:
        """Enter into ``ledger`` what we are owed of ``speech`` until now, and got."""
        if self.let_in_ns:
            ledger.enter_stay(speech, self.let_in_ns, self.sequence, None)

    def send(self, text: str) -> None:
        """Send, unless the socket is gone: :meth:`closed` has told of that."""
        if self.ws is not None:
            try:
                self.ws.send(text)
            except ConnectionClosed:
                self.lab.samples.count("unsent")

    # What the socket says.

    def received(self, message: str | bytes) -> None:
        """A frame has come."""
        if self.ws is None:
            return  # of a socket we have left
        text = message if isinstance(message, str) else message.decode()
        stamp = self._stamp(text)
        if stamp is not None:
            if stamp.run == self.lab.run:
                self.heard(stamp)
            else:
                self.lab.samples.count("foreign")
        elif self._open:
            self._reply(text)
        elif (why := self.lab.dialect.refusal(text)) is not None:
            ws, self.ws = self.ws, None
            self._turned_away("subscribe", f"{self.lab.url}: {why}")
            ws.close()
        elif self.lab.dialect.is_ready(text, self.room):
            self.lab.samples.latency("subscribe", monotonic() - self._opened)
            self._let_in()
        elif self.lab.dialect.invites(text):
            self.send(self.join())
        else:
            self._reply(text)

    def closed(self, ws: WebSocket) -> None:
        """The socket is gone: of our own will, or dropped."""
        samples = self.lab.samples
        self.lab.sockets -= 1
        samples.count(f"closed:{ws.close_code}")
        if ws is not self.ws:
            return
        self.ws = None
        why = ws.close_reason
        name = why.name if why is not None else "closed_by_peer"
        if self._open:
            samples.failure("socket", "dropped", f"dropped: {ws.close_code} {name}")
        else:
            text = f"the server closed it before we were let in: {ws.close_code} {name}"
            self._turned_away("subscribe", f"{self.lab.url}: {text}")

    def farewell(self, reason: CloseReason) -> str | None:
        """We have nothing to say in the end."""
        return None

    def _reply(self, text: str) -> None:
        answer = self.lab.dialect.answer(text)
        if answer is not None:
            self.send(answer)

    def _let_in(self) -> None:
        self._open = True
        self.lab.samples.count("ready")
        if not self._came:
            self._came = True
            self.lab.samples.count("let_in")
        if not self.let_in_ns:
            self.let_in_ns = time_ns() + round(self.lab.dialect.settling_s * 1e9)
        self.ready()

    def _turned_away(self, name: str, why: str) -> None:
        """Our socket did not open, or was not let in: nobody tries again."""
        samples = self.lab.samples
        samples.failure(name, "failed", why)
        if not self._came:
            samples.count("turned_away")

    # For scenarios.

    def ready(self) -> None:
        """We are let in; ``lab.measuring`` says whether it is the time to speak."""

    def begin(self) -> None:
        """The time to speak begins; we may not have been let in yet."""

    def join(self) -> str:
        """The frame that asks to be let in."""
        return self.lab.dialect.join(self.room)

    def heard(self, stamp: Stamp) -> None:
        """A message of the stream: check its number, and take its time."""
        if stamp.stream != self.room:
            self.lab.samples.failure("deliver", "stray")
            return
        if self.sequence is None:
            self.sequence = Sequence(self._first_owed(stamp))
        self.take("deliver", stamp)

    def take(self, name: str, stamp: Stamp) -> bool:
        """Enter a message into our sequence, and its time as ``name``.

        False if it has come before.
        """
        assert self.sequence is not None
        samples = self.lab.samples
        verdict = self.sequence.hear(stamp.number)
        if verdict in ("reordered", "duplicated"):
            samples.failure(name, verdict)
        if verdict in ("duplicated", "old"):
            return False
        samples.count("received")
        samples.latency(name, (time_ns() - stamp.intended_ns) / 1e9)
        if self.lab.quiet:
            samples.count("received_behind")
        return True

    def _first_owed(self, stamp: Stamp) -> int:
        if not self.let_in_ns:
            return stamp.number
        first_ns = stamp.intended_ns - (stamp.number - 1) * stamp.every_ns
        speech = Speech(first_ns, stamp.every_ns)
        return min(stamp.number, speech.first_due(self.let_in_ns))

    @staticmethod
    def _stamp(text: str) -> Stamp | None:
        found, stamp = WebSocketUser._last
        this = find(text)
        if this != found:
            stamp = read(this)
            WebSocketUser._last = (this, stamp)
        return stamp if this is not None else None


class CableUser(WebSocketUser):
    """A subscriber of an Action Cable channel, as ``--channel`` says."""

    abstract = True
    dialect = Cable()
