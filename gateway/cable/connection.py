"""A client's connection, as the application sees it: who it is, and how to reach it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, NoReturn, Protocol

from gateway import reasons
from gateway.cable import messages, naming
from gateway.cable.callbacks import Rescuers, marked
from gateway.cable.feeds import Member, Timer
from gateway.errors import LocalError
from gateway.reasons import CloseReason

__all__ = ["Connection", "Handshake", "ReadOnlySession", "Unauthorized", "Wire"]

_logger = logging.getLogger("gateway.cable")


class Unauthorized(Exception):
    """Raised by :meth:`Connection.reject`; let it pass."""


class Wire(Protocol):
    """The socket, as far as the cable needs one."""

    @property
    def id(self) -> str:
        """A name for the connection that no other has, in any process."""

    @property
    def member(self) -> Member:
        """What stands for this socket in a stream's audience."""

    @property
    def waiting(self) -> int:
        """How many messages have come from the client but were not carried out yet."""

    @property
    def extended(self) -> bool:
        """Whether the client speaks the extended protocol."""

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """What the program's code may raise without harm to anything else."""

    def send_text(self, payload: bytes, /) -> None:
        """Send a frame after all that were sent before; never waits."""

    def close(self, reason: CloseReason, /) -> None:
        """Say ``disconnect`` with the reason, then close; never waits."""

    def post(self, job: Callable[[], object], /) -> None:
        """Run ``job`` in line with the client's commands."""

    def every(self, seconds: float, job: Callable[[], object], /) -> Timer:
        """Run it so every so many seconds, unless the last one is still waiting."""

    def later(self, seconds: float, job: Callable[[], object], /) -> Timer:
        """Run it so once."""

    def announce(self, event: str, /, **about: Any) -> None:
        """Tell the program what happened, if it wants to know (``gateway.signals``)."""


class Handshake(Protocol):
    """What is known only while the connection opens (Flask's request provides it)."""

    @property
    def session(self) -> Any: ...

    @property
    def cookies(self) -> Any: ...

    @property
    def request(self) -> Any: ...


class ReadOnlySession(MutableMapping[str, Any]):
    """The Flask session as it was when the connection opened.

    It can be read at any time; writing it raises, for a WebSocket has no way to set a
    cookie.

    >>> ReadOnlySession({"name": "ann"})["name"]
    'ann'
    """

    __slots__ = ("_values",)

    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    @property
    def permanent(self) -> bool:
        """As Flask's."""
        return bool(self.get("_permanent"))

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # update(), pop(), setdefault() and clear() come down to these.

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        _refuse(f"session[{key!r}]")

    def __delitem__(self, key: str) -> NoReturn:
        _refuse(f"session[{key!r}]")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        _refuse(f"session.{name}")


def _refuse(what: str) -> NoReturn:
    raise LocalError(
        f"{what} cannot be set over a WebSocket, which sends no cookies: write the "
        "session in connect(), or in an ordinary request"
    )


_EMPTY = ReadOnlySession({})


class Connection:
    """One client. Subclass it to say who may connect, and who they are.

    >>> class AppConnection(Connection):
    ...     identified_by = ("current_user",)
    ...
    ...     def connect(self):
    ...         self.current_user = self.session.get("name") or self.reject()

    ``identified_by`` names the attributes that tell connections apart; ``connect`` sets
    them, channels read them, and nobody changes them afterwards. Each is a string, a
    number, or a thing that has an ``id`` or a ``to_param()``, or None.
    """

    identified_by: ClassVar[tuple[str, ...]] = ()
    rescuers: ClassVar[Rescuers] = Rescuers(())
    before: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ()

    _handshake: Handshake | None = None
    _session: Mapping[str, Any] = _EMPTY
    _wire: Wire | None = None
    _words: tuple[str | None, ...] | None = None  # of the identifiers, once settled

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.identified_by, str):
            raise LocalError(
                f"{cls.__name__}.identified_by is a string: write a tuple, "
                f"({cls.identified_by!r},)"
            )
        for name in cls.identified_by:
            if hasattr(Connection, name):
                raise LocalError(
                    f"{cls.__name__} is identified by {name}, which every connection "
                    "has: give the identifier another name"
                )
        cls.rescuers = Rescuers.of(cls)
        cls.before = tuple(marked(cls, "before_command"))
        cls.after = tuple(marked(cls, "after_command"))

    def __str__(self) -> str:
        name = "" if self._wire is None else f"#{self._wire.id}"
        return " ".join([name, *self.words().values()]).strip()

    # For subclasses to fill in.

    def connect(self) -> None:
        """Called inside the upgrade request, before anything is sent.

        ``cookies`` and ``request`` can be used here, and only here: keep what you need
        of them as attributes.
        """

    def disconnect(self) -> None:
        """Called when the connection is gone and its subscriptions have ended."""

    # For subclasses to use.

    @property
    def id(self) -> str:
        """A name that no other connection has, in any process."""
        return self._open_wire().id

    @property
    def session(self) -> Any:
        """The Flask session: to read and write in :meth:`connect`, to read later."""
        if self._handshake is not None:
            return self._handshake.session
        return self._session

    @property
    def cookies(self) -> Any:
        """The request's cookies, while the connection opens."""
        return self._opening("cookies").cookies

    @property
    def request(self) -> Any:
        """The Flask request, while the connection opens."""
        return self._opening("request").request

    @property
    def identifiers(self) -> dict[str, Any]:
        """The identifying attributes and their values."""
        return {name: getattr(self, name, None) for name in self.identified_by}

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines begin with this connection's id and identifiers."""
        return _Tagged(_logger, {"connection": str(self)})

    def reject(self) -> NoReturn:
        """Refuse this client, from within :meth:`connect`: it will not come back."""
        raise Unauthorized

    def transmit(self, message: Any) -> None:
        """Send ``message``, as JSON, to this client, bare.

        Clients expect messages of subscriptions: ``Channel.transmit`` sends those.
        """
        self._open_wire().send_text(messages.encode(message))

    def close(self, reason: CloseReason = reasons.REMOTE) -> None:
        """Disconnect this client; ``reason`` says whether it should come back."""
        self._open_wire().close(reason)

    def words(self) -> dict[str, str]:
        """The identifiers, as other processes and programs know them."""
        return {
            name: word
            for name, word in zip(self.identified_by, self._words or (), strict=False)
            if word is not None
        }

    def matches(self, identifiers: Mapping[str, str]) -> bool:
        """Whether the named identifiers have these values (as :func:`naming.param`)."""
        words = self.words()
        return all(words.get(name) == wanted for name, wanted in identifiers.items())

    def __setattr__(self, name: str, value: Any) -> None:
        if self._words is not None and name in self.identified_by:
            raise LocalError(
                f"{name} identifies this connection and is fixed once connect() has "
                "run: other processes find the connection by it"
            )
        super().__setattr__(name, value)

    # What the server calls.

    def open(self, handshake: Handshake) -> None:
        """Run :meth:`connect` in a request, and settle who it is.

        Raises:
            Unauthorized: it was refused.
            LocalError: an identifier has no name; see :meth:`settle`.
        """
        self._handshake = handshake
        try:
            self.connect()
            self.settle()
        finally:
            if handshake.session:
                self._session = ReadOnlySession(handshake.session)
            del self._handshake

    def settle(self) -> None:
        """Fix the identifiers, and name them once: who it is never changes again.

        Raises:
            LocalError: other processes would have no name for one; says which.
        """
        words: list[str | None] = []
        for name, value in self.identifiers.items():
            thing = naming.itself(value)
            if thing is not value:
                setattr(self, name, thing)
            words.append(None if thing is None else self._word(name, thing))
        self._words = tuple(words)

    def attach(self, wire: Wire) -> None:
        """The socket is there."""
        self._wire = wire

    def rescue(self, error: BaseException) -> bool:
        """Give an exception to the handler that wants it; False if none does."""
        return self.rescuers.rescue(self, error)

    def _word(self, name: str, thing: Any) -> str:
        try:
            return naming.param(thing)
        except LocalError as exc:
            raise LocalError(
                f"{type(self).__name__}.{name} identifies the connection, but {exc}"
            ) from None

    def _opening(self, what: str) -> Handshake:
        if self._handshake is None:
            raise LocalError(
                f"{what} is only there while the connection opens; keep what you need "
                "of it as an attribute in connect()"
            )
        return self._handshake

    def _open_wire(self) -> Wire:
        if self._wire is None:
            raise LocalError("this connection has no socket yet: connect() has not run")
        return self._wire


class _Tagged(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{(self.extra or {})['connection']}: {msg}", kwargs
