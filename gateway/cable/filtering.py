"""What logs may show of what clients send: no secrets, and not more than a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.cable import messages

__all__ = ["FILTERED", "cut", "filtered", "shown"]

FILTERED = "[FILTERED]"

_LONGEST = 100


def filtered(value: Any, names: Iterable[str]) -> Any:
    """``value`` without what is secret: keys that contain one of ``names``, in whatever
    case and however deep.

    >>> filtered({"room": 1, "auth": {"user_password": "x"}}, ["password"])
    {'room': 1, 'auth': {'user_password': '[FILTERED]'}}
    """
    return _filtered(value, [name.lower() for name in names])


def _filtered(value: Any, secret: list[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: FILTERED
            if any(name in str(key).lower() for name in secret)
            else _filtered(item, secret)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_filtered(item, secret) for item in value]
    return value


def shown(text: str, names: Iterable[str]) -> str:
    """JSON that a client sent, an identifier say, as a log may show it.

    What cannot be read is not shown: nobody knows what is secret in it.

    >>> shown('{"channel":"ChatChannel","token":"x"}', ["token"])
    '{"channel":"ChatChannel","token":"[FILTERED]"}'
    """
    try:
        value = filtered(messages.decode(text), names)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return f"{len(text)} characters that are no JSON"
    return cut(messages.encode(value).decode())


def cut(name: str) -> str:
    """A name that a client gave to something, as much of it as belongs into a log.

    >>> len(cut("x" * 500_000))
    100
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
