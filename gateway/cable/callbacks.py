"""Methods marked to be called at certain moments, and by exceptions.

A mark is put on the function; a class collects the marked ones of all its ancestors
when it is made. Those of ancestors come first; an override replaces what it overrides.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple, TypeVar

from gateway.errors import LocalError

__all__ = [
    "MOMENTS",
    "Rescuers",
    "after_command",
    "after_subscribe",
    "after_unsubscribe",
    "before_command",
    "before_subscribe",
    "before_unsubscribe",
    "mark",
    "marked",
    "periodically",
    "rescue_from",
]

Method = TypeVar("Method", bound=Callable[..., object])

_MARKS = "__gateway_marks__"

MOMENTS = (
    "before_subscribe",
    "after_subscribe",
    "before_unsubscribe",
    "after_unsubscribe",
)
"""When a channel's marked methods are called."""


def mark(method: Method, name: str, value: Any = True) -> Method:
    """Remember ``name`` with the function."""
    vars(method).setdefault(_MARKS, {})[name] = value
    return method


def marked(cls: type, name: str) -> dict[str, Any]:
    """The methods of ``cls`` marked with ``name``, and the marks' values."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for key, member in vars(base).items():
            marks = getattr(member, _MARKS, {})
            if name in marks:
                found[key] = marks[name]
            else:
                found.pop(key, None)  # overridden without the mark
    return found


def before_subscribe(method: Method) -> Method:
    """Call the method before ``subscribed``; if it rejects, that is not called."""
    return mark(method, "before_subscribe")


def after_subscribe(method: Method) -> Method:
    """Call the method after ``subscribed``, rejected or not."""
    return mark(method, "after_subscribe")


def before_unsubscribe(method: Method) -> Method:
    """Call the method before ``unsubscribed``."""
    return mark(method, "before_unsubscribe")


def after_unsubscribe(method: Method) -> Method:
    """Call the method after ``unsubscribed``."""
    return mark(method, "after_unsubscribe")


def before_command(method: Method) -> Method:
    """Call the connection's method before each command of the client."""
    return mark(method, "before_command")


def after_command(method: Method) -> Method:
    """Call the connection's method after each command, failed or not."""
    return mark(method, "after_command")


def periodically(seconds: float) -> Callable[[Method], Method]:
    """Call the channel's method every so many seconds while it is subscribed.

    Calls come in line with the client's commands, never beside them. One that is still
    waiting for its turn when the next is due is not called twice.
    """
    if callable(seconds):
        raise LocalError("write @periodically(seconds), with the seconds")
    if not isinstance(seconds, (int, float)) or not 0 < seconds < inf:
        raise LocalError(f"periodically({seconds!r}): give seconds, over 0")

    def decorate(method: Method) -> Method:
        return mark(method, "periodically", seconds)

    return decorate


def rescue_from(*types: type[BaseException]) -> Callable[[Method], Method]:
    """Call the method with an exception of these types that a callback or action
    raised.

    A channel's are asked first, then its connection's; what nobody takes is logged.
    """
    are_types = [isinstance(t, type) and issubclass(t, BaseException) for t in types]
    if not types or not all(are_types):
        raise LocalError("write @rescue_from(ValueError), with the types to rescue")

    def decorate(method: Method) -> Method:
        return mark(method, "rescue_from", types)

    return decorate


class Rescuers(NamedTuple):
    """The exception handlers of one class, the most recently declared first."""

    handlers: tuple[tuple[str, tuple[type[BaseException], ...]], ...]

    @classmethod
    def of(cls, owner: type) -> Rescuers:
        """Those of a class and its ancestors."""
        return cls(tuple(reversed(marked(owner, "rescue_from").items())))

    def rescue(self, owner: object, error: BaseException) -> bool:
        """Give ``error`` to the first that takes it; False if none does."""
        for name, types in self.handlers:
            if isinstance(error, types):
                getattr(owner, name)(error)
                return True
        return False
