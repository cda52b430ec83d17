"""How far a client has come: what the ``id`` of an event says.

    8/Kq/chat_1               offset, epoch and name of a stream, as AnyCable has it
    8/Kq/chat_1 3/x7/alerts   two streams
    8/Kq/chat_1,3/x7/chat_2   two subscriptions

It says so of all streams, for a browser brings back the last ``id`` only. What does not
pass through a header is percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from string import punctuation
from urllib.parse import quote, unquote

from gateway.cable.history import Position
from gateway.errors import CommandError

__all__ = ["Places", "read", "written"]

_PLAIN = "".join(set(punctuation) - set("%,"))
_PLACE = re.compile(r"([0-9]{1,18})/([^/]*)/(.+)")


def written(stream: str, position: Position) -> str:
    """A place in a stream.

    >>> written("chat_1", Position("Kq", 8))
    '8/Kq/chat_1'
    """
    epoch = quote(position.epoch, safe="")
    return f"{position.offset}/{epoch}/{quote(stream, safe=_PLAIN)}"


def read(header: str, identifiers: Iterable[str]) -> dict[str, dict[str, Position]]:
    """The places in a ``Last-Event-ID``, by subscription and stream.

    ``header`` is as WSGI gives it: bytes, each written as a character.

    Raises:
        CommandError: we have written no such thing; says what it is.
    """
    places = {identifier: dict[str, Position]() for identifier in identifiers}
    parts = header.split(",") if header else [""] * len(places)
    if len(parts) != len(places):
        raise _unknown(header)
    for reached, part in zip(places.values(), parts, strict=True):
        for place in part.split():
            found = _PLACE.fullmatch(place)
            if found is None:
                raise _unknown(header)
            offset, epoch, stream = found.groups()
            reached[_text(stream)] = Position(_text(epoch), int(offset))
    return places


def _text(quoted: str) -> str:
    return unquote(quoted.encode("latin-1").decode(errors="replace"))


def _unknown(header: str) -> CommandError:
    return CommandError(
        f"Last-Event-ID is {header[:100]!r}: send one that this address gave you, or "
        "none"
    )


class Places:
    """How far one client has come in all its streams.

    ``reached`` says where it was, by subscription and stream; ``behind`` are the
    subscriptions that are to be told what they missed. Those have not come as far as
    their confirmation says until they have been told.
    """

    def __init__(
        self,
        reached: Mapping[str, Mapping[str, Position]],
        behind: Collection[str] = (),
    ) -> None:
        self._reached = {
            identifier: {name: written(name, place) for name, place in places.items()}
            for identifier, places in reached.items()
        }
        self._behind = set(behind)
        self._standing: dict[str, Mapping[str, str]] = {}

    def advance(
        self, kind: str | None, identifier: str, places: Mapping[str, str]
    ) -> None:
        """A frame has been told; ``places`` are those it names, :func:`written`."""
        reached = self._reached.get(identifier)
        if reached is None:
            return
        match kind:
            case None:
                reached.update(places)
            case "confirm_subscription" if identifier in self._behind:
                self._standing[identifier] = places
            case "confirm_subscription":
                self._reached[identifier] = dict(places)
            case "confirm_history":
                for stream, place in self._standing.pop(identifier, {}).items():
                    reached.setdefault(stream, place)
            case "reject_history" if identifier in self._standing:
                self._reached[identifier] = dict(self._standing.pop(identifier))

    def __str__(self) -> str:
        text = ",".join(" ".join(places.values()) for places in self._reached.values())
        return text if text.strip(",") else ""
