"""What a request for events asks for: in its query, or in lines of JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from gateway.cable import messages
from gateway.cable.history import Position
from gateway.cable.messages import Command
from gateway.errors import CommandError
from gateway.events import places

__all__ = ["MAX_BODY_BYTES", "Asked", "in_body", "in_query"]

MAX_BODY_BYTES = 2**16

_NOT_PARAMS = ("identifier", "history_since", "raw", "sid")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_YES = ("1", "t", "true", "y")


class Asked(NamedTuple):
    """Subscriptions, and how their events shall look."""

    commands: list[Command]
    reached: dict[str, dict[str, Position]]
    """How far the client had come, by identifier and stream."""
    raw: bool = False
    """Messages only, no typed frames."""
    whole: bool = False
    """The data of a message's event is its frame, not the message alone."""


def in_query(args: Mapping[str, str], last_event_id: str = "") -> Asked:
    """The subscription that a URL's query asks for.

    ``identifier=<JSON>``, or ``channel=<name>`` and its parameters as they are;
    ``history_since=<Unix seconds>`` asks for the past, ``raw=1`` for messages only.

    Raises:
        CommandError: it cannot be read; says what and why.
    """
    params = {name: value for name, value in args.items() if name not in _NOT_PARAMS}
    identifier = args.get("identifier") or msgspec.json.encode(params).decode()
    since = args.get("history_since")
    history = None if since is None else {"since": _seconds(since)}
    command = Command("subscribe", identifier, history=history)
    return _asked([command], args, last_event_id, whole=False)


def in_body(body: bytes, args: Mapping[str, str], last_event_id: str = "") -> Asked:
    """The subscriptions that a body asks for: a ``subscribe`` command a line.

    Raises:
        CommandError: it cannot be read; says which line and why.
    """
    commands: dict[str, Command] = {}
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            command = messages.read_command(line.decode())
            if command.command != "subscribe":
                raise CommandError(f"{command.command[:100]!r} is not 'subscribe'")
        except (CommandError, UnicodeError) as exc:
            raise CommandError(f"line {number}: {exc}") from None
        commands.setdefault(command.identifier, command)
    if not commands:
        raise CommandError("send a subscribe command on each line: there is none")
    return _asked(list(commands.values()), args, last_event_id, whole=True)


def _asked(
    commands: list[Command], args: Mapping[str, str], last_event_id: str, *, whole: bool
) -> Asked:
    reached = places.read(last_event_id, [each.identifier for each in commands])
    commands = [_from(each, reached[each.identifier]) for each in commands]
    return Asked(commands, reached, raw=args.get("raw") in _YES, whole=whole)


def _from(command: Command, reached: dict[str, Position]) -> Command:
    """The same, but told from where the client had come to."""
    if not reached:
        return command
    wanted = command.history if isinstance(command.history, dict) else {}
    streams = {stream: place._asdict() for stream, place in reached.items()}
    history: dict[str, Any] = {"since": wanted.get("since"), "streams": streams}
    return msgspec.structs.replace(command, history=history)


def _seconds(text: str) -> float:
    seconds = float(text) if _SECONDS.fullmatch(text) else float("inf")
    if not isfinite(seconds):
        raise CommandError(
            f"history_since is {text[:100]!r}: send Unix seconds, such as 1795400350"
        )
    return seconds
