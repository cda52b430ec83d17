"""Channels: what clients subscribe to, and the actions they may call there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gateway.cable import messages, naming, payloads
from gateway.cable.callbacks import MOMENTS, Rescuers, mark, marked
from gateway.cable.connection import Connection
from gateway.cable.feeds import PLAIN, Conflate, Terms
from gateway.cable.resumption import Replay
from gateway.errors import LocalError

if TYPE_CHECKING:
    from gateway.cable.subscription import Subscription

__all__ = ["Channel", "action"]

Method = TypeVar("Method", bound=Callable[..., object])

Coder = Callable[[bytes], Any]


def action(method: Method) -> Method:
    """Let clients call a method: ``perform("speak", {...})`` calls ``speak(data)``.

    Only methods marked so can be called, and ``receive``, which gets messages that name
    no action. One that takes no argument besides ``self`` gets none; one that annotates
    it with a dataclass or ``msgspec.Struct`` gets that, decoded and checked; what does
    not fit is refused to its sender (docs/channels.md).

    >>> class EchoChannel(Channel):
    ...     @action
    ...     def echo(self, data):
    ...         self.transmit(data)
    >>> list(EchoChannel.actions)
    ['echo']
    """
    return mark(method, "action")


class Channel:
    """One client's subscription to one channel; lives as long as that.

    >>> class ChatChannel(Channel):
    ...     def subscribed(self):
    ...         self.stream_from(f"chat_{self.params['room_id']}")
    ...
    ...     @action
    ...     def speak(self, data):
    ...         self.transmit({"you said": data["message"]})

    ``params`` holds what the client subscribed with, ``channel`` included; what
    identifies the connection (``current_user``) is there under its own name.
    """

    actions: ClassVar[dict[str, Callable[..., object]]] = {}
    hooks: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(MOMENTS, ())
    periodic: ClassVar[tuple[tuple[str, float], ...]] = ()
    rescuers: ClassVar[Rescuers] = Rescuers(())
    channel_name: ClassVar[str] = ""
    """What its streams are named after: ``chat`` for ``ChatChannel``, unless set."""

    replay_on_reconnect: ClassVar[Replay | None] = None
    """What Rails' client, which cannot ask for the past, is told of it when it is back:
    at most so many messages (an int), or those of the last while (a timedelta)."""

    _broadcast: ClassVar[Callable[[str, Any], None] | None] = None

    def __init__(
        self, connection: Connection, identifier: str, params: dict[str, Any]
    ) -> None:
        self.connection = connection
        self.identifier = identifier
        self.params = params
        self._subscription: Subscription | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "channel_name" not in vars(cls):
            cls.channel_name = naming.channel_name(cls.__name__)
        names = [*marked(cls, "action"), *(["receive"] * hasattr(cls, "receive"))]
        for name in names:
            if hasattr(Channel, name):
                raise LocalError(
                    f"{cls.__name__}.{name} cannot be an action: every channel has a "
                    f"{name} of its own, which clients must not call"
                )
        known = payloads.names_of(cls)
        cls.actions = {name: payloads.bind(getattr(cls, name), known) for name in names}
        cls.hooks = {moment: tuple(marked(cls, moment)) for moment in MOMENTS}
        cls.periodic = tuple(marked(cls, "periodically").items())
        cls.rescuers = Rescuers.of(cls)

    def __str__(self) -> str:
        return f"{self.connection} {type(self).__name__}"

    # For subclasses to fill in.

    def subscribed(self) -> None:
        """A client subscribes: start streams here, or :meth:`reject`."""

    def unsubscribed(self) -> None:
        """The subscription ends, by the client or with its connection."""

    # Streams.

    def stream_from(
        self,
        name: str,
        callback: Callable[[Any], object] | None = None,
        *,
        coder: Coder = messages.decode,
        max_rate: float | None = None,
        conflate: Conflate | None = None,
        latest: bool = False,
        counted_as: str | None = None,
        whisper: bool = False,
        presence: bool = False,
    ) -> None:
        """Send this client what is broadcast to ``name``, from its confirmation on.

        With ``callback``, that is called with each message instead, decoded by
        ``coder``, in line with the client's commands.

        For dashboards: at most ``max_rate`` messages in any second, the last one
        always; ``conflate`` says what becomes of those in between: only the
        ``"latest"`` counts (the default with ``max_rate``), or objects are
        ``"merge"``-d key by key, an absent key meaning unchanged. A client that lags
        gets the newest in place of what it has not read. ``latest`` sends the value of
        now at once. Each frame says in ``updates`` how many messages had come by then;
        objects say so themselves under the key ``counted_as``. Calling it again for the
        same stream changes the terms. None of this goes with a callback, which hears
        each message.

        Where ``whisper`` or ``presence`` is on, clients of the extended protocol may
        whisper to the others on the stream, and tell them that they are present.
        """
        naming.check_stream(name)
        terms = PLAIN
        if max_rate is not None or conflate is not None:
            terms = _conflating(max_rate, conflate, counted_as)
        elif counted_as is not None:
            raise LocalError(
                f"counted_as={counted_as!r} counts what is conflated: give max_rate or "
                "conflate, too"
            )
        own, heard = self._own(), None
        if callback is not None:
            _check_callback(callback, plain=terms is PLAIN and not latest)
            heard = own.calling(callback, coder)
        own.listen(
            name,
            terms=terms,
            latest=latest,
            whisper=whisper,
            presence=presence,
            callback=heard,
        )

    def stream_for(self, thing: Any, *args: Any, **how: Any) -> None:
        """Stream what :meth:`broadcast_to` says about an object, or a tuple."""
        self.stream_from(self.broadcasting_for(thing), *args, **how)

    def stream_or_reject_for(self, thing: Any, *args: Any, **how: Any) -> None:
        """The same, but reject the subscription if there is no thing (None)."""
        if thing is None:
            self.reject()
        else:
            self.stream_for(thing, *args, **how)

    def stop_stream_from(self, name: str) -> None:
        """No longer send what is broadcast to ``name``."""
        self._own().stop(name)

    def stop_stream_for(self, thing: Any) -> None:
        """No longer send what is said about ``thing``."""
        self.stop_stream_from(self.broadcasting_for(thing))

    def stop_all_streams(self) -> None:
        """No longer send what is broadcast to any stream."""
        self._own().stop_all()

    def pause_streams(self) -> None:
        """Send nothing of the streams for a while: a browser tab is hidden, say."""
        self._own().streams.pause()

    def resume_streams(self) -> None:
        """Go on, and first send the newest of the streams that asked for ``latest``."""
        self._own().resume()

    @property
    def streams(self) -> list[str]:
        """The names of the streams it listens to."""
        return self._own().streams.names

    @classmethod
    def broadcasting_for(cls, thing: Any) -> str:
        """The name of the stream about ``thing``: see :func:`naming.param`."""
        return naming.stream_name(cls.channel_name, thing)

    @classmethod
    def broadcast_to(cls, thing: Any, message: Any) -> None:
        """Send ``message`` to all who :meth:`stream_for` the same thing."""
        if cls._broadcast is None:
            raise LocalError(f"{cls.__name__} is not registered: @gateway.channel does")
        cls._broadcast(cls.broadcasting_for(thing), message)

    # The past, and who is present.

    def history_since(self, name: str, seconds: float) -> list[Any]:
        """What was broadcast to a stream in the last so many seconds, and is kept."""
        recall = self._own().backend.recall(name)
        kept = [] if recall is None else recall.kept
        since = self._own().now() - seconds
        return [messages.decode(each.message) for each in kept if each.time >= since]

    def join_presence(self, member: str, info: Any = None) -> None:
        """Make this client present, as ``member``, on the stream that has presence.

        It is present from its confirmation on, and does not wait for a broker that is
        away. ``info`` is what JSON can say; others are told it.
        """
        if not isinstance(member, str) or not member:
            raise LocalError(
                f"{member!r} cannot be present: an id is a string that is not empty, "
                "such as str(user.id)"
            )
        self._own().enter(messages.PresenceJoin(member, info))

    def leave_presence(self) -> None:
        """Make it present no longer."""
        self._own().leave()

    def presence(self, name: str) -> dict[str, Any]:
        """Who is present on a stream: what is known about each, by id."""
        return self._own().backend.present(name)

    # Speaking to the client.

    def transmit(self, message: Any) -> None:
        """Send ``message``, as JSON, to this subscription alone."""
        self._own().transmit(messages.encode(message))

    def reject(self) -> None:
        """Refuse the subscription, from within :meth:`subscribed`."""
        self._own().reject()

    def defer_confirmation(self) -> None:
        """Do not confirm when :meth:`subscribed` returns, but by :meth:`confirm`."""
        self._own().defer()

    def confirm(self) -> None:
        """Confirm a subscription whose confirmation was deferred."""
        self._own().confirm()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that says which connection it is about."""
        return self.connection.logger

    def __getattr__(self, name: str) -> Any:
        connection = self.__dict__.get("connection")
        # A property that raised AttributeError brings us here, too: it says why.
        is_own = hasattr(type(self), name)
        if connection is None or is_own or name not in connection.identified_by:
            return object.__getattribute__(self, name)
        return getattr(connection, name)

    def _own(self) -> Subscription:
        if self._subscription is None:
            raise LocalError(
                "the channel is not subscribed yet: streams and messages belong in "
                "subscribed() or later, not in __init__"
            )
        return self._subscription


def _conflating(
    max_rate: float | None, conflate: Conflate | None, counted_as: str | None
) -> Terms:
    if max_rate is not None:
        is_rate = isinstance(max_rate, (int, float)) and 0 < max_rate < inf
        if not is_rate:
            raise LocalError(
                f"max_rate is {max_rate!r}: give messages per second, over 0"
            )
    if conflate not in (None, "latest", "merge"):
        raise LocalError(f"conflate is {conflate!r}: write 'latest' or 'merge'")
    return Terms(max_rate, conflate or "latest", counted_as)


def _check_callback(callback: object, *, plain: bool) -> None:
    if not callable(callback):
        raise LocalError(f"callback is {callback!r}, which cannot be called")
    if not plain:
        raise LocalError(
            "a callback hears each message: max_rate, conflate and latest are for what "
            "is sent to the client"
        )
