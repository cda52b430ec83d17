"""The lab's options on Locust's own command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadtest.dialects import DIALECTS, Cable, Dialect

__all__ = ["add_options", "dialect_of", "shared"]

_SHARED = (
    *("host", "hold", "rate", "size", "room_count", "dialect", "channel", "action"),
    *("origin", "source_addresses"),
)


def add_options(parser: Any) -> None:
    """Add them to ``parser``, an :class:`argparse.ArgumentParser`."""
    add = parser.add_argument_group("Capacity lab").add_argument
    add("--hold", type=float, default=30.0, metavar="S", help="seconds to measure for")
    add("--drain", type=float, default=60.0, metavar="S", help="most to wait behind it")
    add("--rate", type=float, default=None, metavar="HZ", help="messages a second")
    add("--size", type=int, default=200, metavar="BYTES", help="of each message")
    add("--room-count", type=int, default=100, help="where there are rooms")
    add("--dialect", choices=list(DIALECTS), default=None, help="the server's")
    add("--channel", default="", help="to subscribe to")
    add("--action", default="", help="of the channel, that speaks")
    add("--origin", default=None, help="header to send")
    add("--source-addresses", type=int, default=1, help="127.0.0.2 and on: how many")
    add("--ramp", action="store_true", help="measure while sockets arrive")
    add("--out", default="", help="folder for result.json")
    add("--owner", type=int, default=None, help="end when this process does")


def shared(options: Any) -> dict[str, Any]:
    """Those that all processes of a run must have in common."""
    return {name: getattr(options, name) for name in _SHARED}


def dialect_of(own: Dialect, options: Any) -> Dialect:
    """What a scenario speaks: its ``own`` dialect, or what the options say."""
    dialect = own
    like_own = options.dialect == "cable" and isinstance(own, Cable)
    if options.dialect is not None and not like_own:
        dialect = DIALECTS[options.dialect]
    if isinstance(dialect, Cable):
        given = {"channel": options.channel, "action": options.action}
        changes = {name: value for name, value in given.items() if value}
        dialect = replace(dialect, **changes)
    return dialect
