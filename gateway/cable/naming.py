"""Names made from things, as Rails makes them: of channels, streams and connections."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from gateway.errors import LocalError

__all__ = ["channel_name", "check_stream", "itself", "param", "stream_name"]


def channel_name(class_name: str) -> str:
    """``ChatRoomChannel`` → ``chat_room``; ``Admin::ChatChannel`` → ``admin:chat``.

    >>> channel_name("HTTPStatusChannel")
    'http_status'
    """
    name = class_name.removesuffix("Channel").replace("::", ":")
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()


def itself(thing: Any) -> Any:
    """The object that a proxy stands for, as ``flask_login.current_user`` does.

    A proxy means another object, or none, in the next request: only the object lasts.
    """
    is_proxy = hasattr(type(thing), "_get_current_object")
    return thing._get_current_object() if is_proxy else thing


def param(thing: Any) -> str:
    """A word for a thing that tells it from others of its kind, in every process.

    Strings and numbers speak for themselves. An object says it with ``to_gid_param()``
    or ``to_param()``, or has an ``id``: then it is called by its class and id. Tuples
    and lists of such things are joined with colons.

    Raises:
        LocalError: there is no such word for it.

    >>> param(("room", 7))
    'room:7'
    """
    thing = itself(thing)
    if isinstance(thing, (str, int, UUID)):
        return str(thing)
    if not isinstance(thing, type):
        for method in ("to_gid_param", "to_param"):
            say = getattr(thing, method, None)
            if callable(say) and (word := say()) is not None:
                return str(word)
        if getattr(thing, "id", None) is not None:
            return f"{type(thing).__name__}/{thing.id}"
    if isinstance(thing, (tuple, list)) and thing:
        return ":".join(map(param, thing))
    raise LocalError(
        f"{thing!r} has no name that other processes would know it by: give it an id "
        "or a method to_param(), or use a string"
    )


def check_stream(name: object) -> None:
    """A stream's name must be a text, and not an empty one.

    Raises:
        LocalError: it is not; says what was given.
    """
    if not isinstance(name, str) or not name:
        raise LocalError(
            f"a stream is named by a string, not {name!r}: use stream_for() and "
            "broadcast_to() for things"
        )


def stream_name(channel: str, thing: Any) -> str:
    """The stream of a channel that is about ``thing``.

    >>> stream_name("chat", 7)
    'chat:7'
    """
    return f"{channel}:{param(thing)}"
