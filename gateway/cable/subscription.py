"""The life of one subscription: pending, then confirmed or rejected, then gone.

    pending ── subscribed() has returned ──→ confirmed ── it is unsubscribed, or the
       │  └─── defer_confirmation(), confirm() ──↑        connection is gone ──→ gone
       └── reject(), or an exception ──→ rejected

What the program's code raises is given to who wants to rescue from it, or logged; it
costs nobody anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway import reasons
from gateway.cable import messages, resumption
from gateway.cable.attendance import Attendance
from gateway.cable.filtering import cut
from gateway.cable.messages import PresenceJoin
from gateway.cable.payloads import PayloadRefused
from gateway.cable.publication import Publication
from gateway.cable.recovery import Recovery
from gateway.cable.streams import Streams
from gateway.errors import CommandError, LocalError, PubSubError

if TYPE_CHECKING:
    from gateway.cable.channel import Channel, Coder
    from gateway.cable.connection import Wire
    from gateway.cable.feeds import Timer
    from gateway.cable.hub import Backend, Hub
    from gateway.cable.subscriptions import Subscriptions

__all__ = ["State", "Subscription"]

logger = logging.getLogger("gateway.cable")


class State(Enum):
    """Where a subscription is in its life."""

    PENDING = auto()
    CONFIRMED = auto()
    REJECTED = auto()
    GONE = auto()


class Subscription:
    """Runs a channel's callbacks and says on the wire what came of them.

    ``owner`` is told to forget it if it is rejected.
    """

    __slots__ = (
        "_attendance",
        "_has_begun",
        "_history",
        "_is_deferred",
        "_is_restored",
        "_owner",
        "_timers",
        "_whisper",
        "_wire",
        "channel",
        "hub",
        "recovery",
        "state",
        "streams",
    )

    def __init__(
        self,
        channel: Channel,
        wire: Wire,
        hub: Hub,
        owner: Subscriptions | None = None,
    ) -> None:
        self.channel = channel
        self.hub = hub
        self.state = State.PENDING
        self.streams = Streams(hub, channel.identifier, wire)
        self.recovery: Recovery | None = None
        self._wire = wire
        self._owner = owner
        # What the client wants to be told first, and when it said so.
        self._history: tuple[Any, float] | None = None
        self._has_begun = False
        self._is_deferred = False
        self._is_restored = False
        self._whisper: str | None = None  # the stream that clients may whisper on
        self._attendance: Attendance | None = None  # its part in a stream's presence
        self._timers: tuple[Timer, ...] = ()
        channel._subscription = self

    @property
    def backend(self) -> Backend:
        """Where streams are kept."""
        return self.hub.backend

    def now(self) -> float:
        """Unix seconds."""
        return self.hub.clock.unix()

    # Beginning.

    def begin(self, history: Any = None, *, restored: bool = False) -> None:
        """Run the channel's callbacks; then confirm, reject, or leave it pending.

        ``history`` is what the client wants to be told first. One that is ``restored``
        is not confirmed to the client, who knows, but waits for it: see :meth:`expect`.
        """
        if history is not None:
            self._history = history, self.hub.clock.now()
        self._is_restored = restored
        channel = self.channel
        ran = away = False
        try:
            self._call("before_subscribe")
            if self.state is State.PENDING:
                ran = True
                channel.subscribed()
            self._call("after_subscribe")
        except self._wire.failures as exc:
            if not self.rescue(exc):
                logger.exception("%s failed to subscribe: rejected", channel)
                # A client that is rejected does not ask again; this one should.
                away = isinstance(exc, PubSubError)
            self.state = State.REJECTED
        self._has_begun = True
        if away:
            self._wire.close(reasons.NO_BROKER)
        if self.state is State.REJECTED:
            self._turn_away(unsubscribe=ran, told=not (away or restored))
        elif not self._is_deferred:
            self.confirm()

    def defer(self) -> None:
        """Do not confirm when ``subscribed`` returns, but by :meth:`confirm`."""
        self._is_deferred = True

    def confirm(self) -> None:
        """Confirm to the client, and let messages and timers run. May wait."""
        if self.state is not State.PENDING:
            return
        mark = self._find_mark()
        if self.state is not State.PENDING:  # it has ended meanwhile
            return
        self.state = State.CONFIRMED
        self._start_timers()
        if not self._is_restored:
            self._wire.send_text(self._confirmation())
            history, self._history = self._history, None
            if history is not None:
                self.recover(*history)
            else:
                if mark is not None:
                    resumption.replay(self, mark)
                self.let_on()
        self._wire.announce("subscribed", channel=self.channel)
        if self._attendance is not None and self.state is State.CONFIRMED:
            self._attendance.confirmed()

    def _start_timers(self) -> None:
        for name, seconds in self.channel.periodic:
            method = getattr(self.channel, name)
            tick = partial(self._run, method, method)
            self._timers += (self._wire.every(seconds, tick),)

    def _confirmation(self) -> bytes:
        identifier = self.channel.identifier
        places = self.streams.positions() if self._wire.extended else {}
        if places:
            return messages.positions(identifier, places)
        return messages.confirmation(identifier)

    def reject(self) -> None:
        """Refuse, at once if confirmation was deferred."""
        if self.state is State.CONFIRMED:
            raise LocalError(
                f"{self.channel} is confirmed already: reject() belongs in "
                "subscribed(); use stop_all_streams(), or close the connection"
            )
        if self.state is State.PENDING:
            self.state = State.REJECTED
            if self._has_begun:
                self._turn_away(unsubscribe=True, told=not self._is_restored)

    def _turn_away(self, *, unsubscribe: bool, told: bool) -> None:
        self.streams.close()
        self._end_attendance(lingering=False)
        if unsubscribe:
            self._unsubscribe()
        if self._owner is not None:
            self._owner.forget(self.channel.identifier)
        if told:
            self._wire.send_text(messages.rejection(self.channel.identifier))
        self._wire.announce("subscription_rejected", channel=self.channel)

    # Streams.

    def listen(
        self, name: str, *, whisper: bool = False, presence: bool = False, **how: Any
    ) -> None:
        """Start a stream; see :meth:`Streams.start`. Again, what is not wanted any
        longer is taken back: whispers, presence."""
        if self.state is State.REJECTED:
            return  # as in Rails, subscribed() may go on after its reject()
        if self.state is State.GONE:
            raise LocalError(f"{self.channel} is not subscribed any longer")
        self.send(self.streams.start(name, presence=presence, **how))
        if name not in self.streams.names:  # it has ended meanwhile
            return
        self._revoke(name, whisper=not whisper, presence=not presence)
        if whisper:
            self._whisper = name
        if presence and not self._attending().stream:
            self._attending().begin(name)

    def stop(self, name: str) -> None:
        """No longer listen to a stream, nor speak on it."""
        self.streams.stop(name)
        self._revoke(name, whisper=True, presence=True)

    def stop_all(self) -> None:
        """The same for all streams."""
        for name in self.streams.names:
            self.stop(name)

    def _revoke(self, name: str, *, whisper: bool, presence: bool) -> None:
        if whisper and self._whisper == name:
            self._whisper = None
        attendance = self._attendance
        if presence and attendance is not None and attendance.stream == name:
            self._end_attendance(lingering=False)
            self._attendance = None

    def resume(self) -> None:
        """End a pause: let messages through again."""
        held = self.recovery is not None and self.recovery.is_pending
        self.send(self.streams.resume(held=held))

    def let_on(self) -> None:
        """Let messages through, unless they are paused."""
        if self.state is State.CONFIRMED:
            self.send(self.streams.let_on())

    # The past.

    def expect(self) -> None:
        """The restored client knows that it is: it will ask for what it missed."""
        self.recovery = Recovery(self)
        self.recovery.expect()

    def recover(self, wanted: Any, asked_at: float | None = None) -> None:
        """Tell the client what it missed, then let messages through. May wait.

        ``wanted`` is what it asks for, as it came; ``asked_at`` is when, if not now.
        """
        if self.recovery is None:
            self.recovery = Recovery(self)
        if asked_at is None:
            asked_at = self.hub.clock.now()
        self.recovery.ask(wanted, asked_at)

    def later(self, seconds: float, job: Callable[[], object]) -> Timer:
        """Do something in line with the client's commands, if it still matters."""
        return self._wire.later(seconds, partial(self._run, job, job))

    def _find_mark(self) -> resumption.Mark | None:
        """What a client that cannot ask for the past has left behind. May wait."""
        if self._wire.extended or self._is_restored:
            return None
        try:
            return resumption.find(self)
        except self._wire.failures as exc:
            logger.info("%s: nothing is replayed: %s", self.channel, exc)
            return None

    # Speaking.

    def transmit(self, message: bytes) -> None:
        """Send a message, as JSON, to this subscription alone."""
        prefix = messages.data_prefix(self.channel.identifier)
        self._wire.send_text(b"%b%b}" % (prefix, message))

    def send(self, frames: list[bytes]) -> None:
        """Send frames as they are."""
        for frame in frames:
            self._wire.send_text(frame)

    def whisper(self, data: Any) -> None:
        """Pass what the client says on to the others on the stream, once, unkept."""
        if self._whisper is None:
            raise CommandError(f"{self.channel} has no whispers")
        said = Publication(messages.encode(data), exclude=self._wire.id, transient=True)
        self.backend.publish(self._whisper, said)

    # Presence.

    def enter(self, who: PresenceJoin) -> None:
        """The client is present, under an id, from its confirmation on."""
        if self.state is State.PENDING:
            self._attending().enter_later(who)
        elif self.state is State.CONFIRMED:
            self._present().enter(who)

    def leave(self) -> None:
        """It is present no longer."""
        if self._attendance is None:
            raise CommandError(f"{self.channel} has no presence")
        self._attendance.leave()

    def tell_presence(self, *, records: bool, max_bytes: int) -> None:
        """Tell the client who is present."""
        identifier = self.channel.identifier
        self._present().tell(identifier, records=records, max_bytes=max_bytes)

    def _attending(self) -> Attendance:
        if self._attendance is None:
            self._attendance = Attendance(self.hub.tracker, self._wire)
        return self._attendance

    def _present(self) -> Attendance:
        if self._attendance is None or not self._attendance.stream:
            raise CommandError(f"{self.channel} has no presence")
        return self._attendance

    # Doing what the client wants.

    def perform(self, data: dict[str, Any]) -> None:
        """Call an action. Data that does not fit is refused to the sender."""
        channel = self.channel
        name = data.get("action") or "receive"
        action = channel.actions.get(name) if isinstance(name, str) else None
        if action is None:
            raise CommandError(f"{channel} has no action {cut(repr(name))}")
        try:
            action(channel, data)
        except PayloadRefused as exc:
            refusal = {
                "error": "invalid_payload",
                "action": name,
                "field": exc.field,
                "problem": exc.problem,
            }
            self.transmit(messages.encode(refusal))
            raise
        except self._wire.failures as exc:
            if not self.rescue(exc):
                logger.exception("%s.%s failed", channel, name)

    def calling(
        self, callback: Callable[[Any], object], coder: Coder
    ) -> Callable[[bytes], None]:
        """What calls ``callback`` with a message, in line with the client's commands.

        ``coder`` makes of the JSON what it is called with.
        """

        def heard(message: bytes) -> None:
            call = partial(self._run, callback, lambda: callback(coder(message)))
            self._wire.post(call)

        return heard

    def _run(self, named: object, job: Callable[[], object]) -> None:
        """Do something that was posted, if it still matters; logs say what it was."""
        if self.state is State.CONFIRMED:
            try:
                job()
            except self._wire.failures as exc:
                if not self.rescue(exc):
                    name = getattr(named, "__qualname__", named)
                    logger.exception("%s: %s failed", self.channel, name)

    # Ending.

    def end(self, *, lingering: bool = False) -> None:
        """Streams and timers first, so that ``unsubscribed`` may broadcast in peace.

        A connection that broke leaves its presence ``lingering``: it may come back.
        """
        if self.state in (State.REJECTED, State.GONE):
            return
        self.state = State.GONE
        for timer in self._timers:
            timer.cancel()
        if self.recovery is not None:
            self.recovery.end()
        leaves = lingering and not self._wire.extended
        places = self.streams.positions() if leaves else {}
        self.streams.close()
        if places:
            self._call_safely(partial(resumption.leave, self, places))
        self._end_attendance(lingering=lingering)
        self._unsubscribe()

    def _end_attendance(self, *, lingering: bool) -> None:
        if self._attendance is not None:
            self._call_safely(partial(self._attendance.end, lingering=lingering))

    def _unsubscribe(self) -> None:
        for step in (
            partial(self._call, "before_unsubscribe"),
            self.channel.unsubscribed,
            partial(self._call, "after_unsubscribe"),
        ):
            if not self._call_safely(step):
                return

    def _call_safely(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except self._wire.failures as exc:
            if not self.rescue(exc):
                logger.exception("%s failed to unsubscribe", self.channel)
            return False
        return True

    def _call(self, moment: str) -> None:
        for name in self.channel.hooks[moment]:
            getattr(self.channel, name)()

    def rescue(self, error: BaseException) -> bool:
        """Ask the channel, then the connection."""
        channel = self.channel
        try:
            return channel.rescuers.rescue(channel, error) or (
                channel.connection.rescue(error)
            )
        except self._wire.failures:
            logger.exception("%s: rescuing from %r failed", channel, error)
            return True
