"""Actions that say what they take get it, decoded and checked."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
import msgspec.structs

from gateway.errors import CommandError, LocalError

__all__ = [
    "Payload",
    "PayloadRefused",
    "Taken",
    "bind",
    "fields_of",
    "names_of",
    "taken",
]

Payload = Callable[..., object]

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_STEP = re.compile(r"[^.\[\]]+")


class PayloadRefused(CommandError):
    """Data that does not fit. Fields: ``field`` (may be empty), ``problem``."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field or 'data'}: {self.problem}"


def bind(
    method: Callable[..., object], names: Mapping[str, Any] | None = None
) -> Payload:
    """``method(channel, data)``, called as its signature wants it.

    One without a parameter gets none. One whose parameter is annotated with a dataclass
    or a ``msgspec.Struct``, with a union of such or with None, gets one of those, made
    from the data less its ``action``; None if nothing but that came. ``names`` are
    those of the class, which annotations may use.

    Raises:
        LocalError: it takes more than one thing, or what it takes cannot be known.
    """
    parameter = taken(method, names)
    if parameter is None:
        return lambda channel, data: method(channel)
    kinds = _members(parameter.kind)
    if not any(map(_is_checked, kinds)):
        return method
    convert = _converter(method, parameter.kind)
    may_be_none = type(None) in kinds

    def checked(channel: Any, data: dict[str, Any]) -> object:
        fields = {name: value for name, value in data.items() if name != "action"}
        if may_be_none and not fields:
            return method(channel, None)
        return method(channel, convert(fields))

    return checked


class Taken(NamedTuple):
    """What an action takes: the parameter's name, and the kind of thing it is."""

    name: str
    kind: Any


def taken(
    method: Callable[..., object], names: Mapping[str, Any] | None = None
) -> Taken | None:
    """What an action takes besides ``self``; None if nothing.

    Raises:
        LocalError: more than one thing, or one whose kind cannot be known.
    """
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if not parameters:
        return None
    first, *others = parameters
    required = [p for p in others if p.default is p.empty and p.kind not in _OPEN]
    if required or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise LocalError(
            f"{_name(method)} takes {', '.join(p.name for p in parameters)}, but an "
            "action takes the data, as one argument, or nothing: annotate it with a "
            "dataclass or a msgspec.Struct of these fields"
        )
    return Taken(first.name, _kind(method, first, names or {}))


def names_of(cls: type) -> dict[str, Any]:
    """The names that annotations within a class may use: its own and inherited ones."""
    names: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        names |= vars(base)
    return names


def fields_of(kind: Any) -> dict[str, Any]:
    """The fields of a payload as clients call them, and their kinds.

    Those of the only class, if it is a union; none if several may come, or anything.
    """
    checked = [member for member in _members(kind) if _is_checked(member)]
    if len(checked) != 1:
        return {}
    (cls,) = checked
    hints = get_type_hints(cls)
    if dataclasses.is_dataclass(cls):
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return {f.encode_name: hints[f.name] for f in msgspec.structs.fields(cls)}


_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _kind(
    method: Callable[..., object],
    parameter: inspect.Parameter,
    names: Mapping[str, Any],
) -> Any:
    """Only its own annotation: others may use names that only checkers know."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, inspect.unwrap(method).__globals__, names)
    except Exception as exc:
        raise LocalError(
            f"{_name(method)}: {exc}, so nobody knows what {parameter.name}: "
            f"{annotation} is: define or import it at the top of its module, outside "
            "`if TYPE_CHECKING`"
        ) from None


def _members(kind: Any) -> tuple[Any, ...]:
    """The kinds that a union is of; any other kind is the only one."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_checked(kind: Any) -> bool:
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct)
    )


def _converter(
    method: Callable[..., object], kind: Any
) -> Callable[[dict[str, Any]], Any]:
    try:
        msgspec.json.Decoder(kind)
    except (TypeError, NameError) as exc:  # NameError: its fields are annotated so
        raise LocalError(f"{_name(method)} takes {kind!r}: {exc}") from None
    return partial(_convert, kind)


def _name(method: Callable[..., object]) -> str:
    return getattr(method, "__qualname__", repr(method))


# Making it, or saying which field does not fit.


def _convert(wanted: Any, fields: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(fields, wanted)
    except msgspec.ValidationError as exc:
        problem, place = _split(exc)
    if missing := _MISSING.fullmatch(problem):
        place = f"{place}.{missing[1]}".lstrip(".")
        problem = f"Missing{_expected(fields, wanted, place)}"
    elif unknown := _UNKNOWN.fullmatch(problem):
        place = f"{place}.{unknown[1]}".lstrip(".")
        problem = "Unknown field"
    raise PayloadRefused(place, problem)


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and where, in msgspec's words."""
    text = str(error)
    place = _PLACE.search(text)
    return (text, "") if place is None else (text[: place.start()], place[1])


def _expected(fields: dict[str, Any], wanted: Any, place: str) -> str:
    """What a missing field should be: what msgspec says of one that can be nothing."""
    *steps, last = _STEP.findall(place)
    inner: Any = fields
    try:
        for step in steps:
            inner = inner[int(step) if isinstance(inner, list) else step]
        inner[last] = _Nothing()
        msgspec.convert(fields, wanted)
    except msgspec.ValidationError as exc:
        problem, where = _split(exc)
        if where == place:
            return f"; {problem.partition(',')[0].lower()}"
    except LookupError:  # within a dict, whose keys msgspec does not tell
        pass
    return ""


class _Nothing:
    """Fits no field."""
