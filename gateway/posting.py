"""What is posted to ``<path>/broadcast``: AnyCable's publications, one or a list.

    {"stream": "chat_1", "data": "{\\"text\\": \\"hi\\"}",
     "meta": {"exclude_socket": "5f3a-7"}}
    {"command": "disconnect",
     "payload": {"identifier": "{\\"current_user\\": \\"ann\\"}"}}

``data`` is a string, delivered as the JSON it holds, or as itself if it holds none.
``meta`` may say whose socket shall not hear it, and ``"transient": true`` that it is
not for the stream's history.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway import control
from gateway.cable.publication import Publication
from gateway.errors import LocalError

__all__ = ["has_key", "read"]


class _Meta(msgspec.Struct):
    exclude_socket: str = ""
    transient: bool = False


class _Post(msgspec.Struct):
    stream: Annotated[str, Meta(min_length=1)]
    data: str
    meta: _Meta = msgspec.field(default_factory=_Meta)


class _Payload(msgspec.Struct):
    identifier: str
    reconnect: bool = True


class _Command(msgspec.Struct):
    command: str
    payload: _Payload


def has_key(authorization: str, key: str) -> bool:
    """Whether an ``Authorization`` header, as WSGI gives it, bears ``key``.

    >>> has_key("Bearer a long key", "a long key"), has_key("a long key", "a long key")
    (True, False)
    """
    scheme, _, given = authorization.partition(" ")
    ours, theirs = key.encode(), given.strip().encode("latin-1", "replace")
    return scheme.lower() == "bearer" and hmac.compare_digest(ours, theirs)


def read(body: bytes) -> list[tuple[str, Publication]]:
    """The streams and publications in a request's body.

    Raises:
        ValueError: some of it cannot be read; says what. None of it counts then.
    """
    try:
        content = msgspec.json.decode(body)
        items = content if isinstance(content, list) else [content]
        return [_read_one(item) for item in items]
    except (msgspec.MsgspecError, LocalError, RecursionError) as exc:
        raise ValueError(f"not a publication: {exc}") from None


def _read_one(item: Any) -> tuple[str, Publication]:
    if isinstance(item, dict) and "command" in item:
        return control.CONTROL, _read_command(msgspec.convert(item, _Command))
    post = msgspec.convert(item, _Post)
    if post.stream == control.CONTROL:
        raise ValueError(
            f"not a publication: {post.stream} is the gateway's own stream; an order "
            'has a "command"'
        )
    try:
        msgspec.json.decode(post.data)
        message = post.data.encode()
    except msgspec.DecodeError:
        message = msgspec.json.encode(post.data)
    meta = post.meta
    return post.stream, Publication(message, meta.exclude_socket, meta.transient)


def _read_command(command: _Command) -> Publication:
    if command.command != "disconnect":
        raise ValueError(f"not a command: {command.command!r}; there is disconnect")
    payload = command.payload
    who = msgspec.json.decode(payload.identifier, type=dict[str, str | int])
    return control.disconnect(who, reconnect=payload.reconnect)
