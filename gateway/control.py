"""What processes tell each other that is for all of them, on a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.cable import naming
from gateway.cable.history import Position, Recall, Retention
from gateway.cable.publication import Publication
from gateway.errors import LocalError

__all__ = ["CONTROL", "RETENTION", "Disconnect", "Orders", "disconnect", "read"]

CONTROL = "gateway:control"
"""The stream that every process listens to."""

RETENTION = Retention(messages=1000, seconds=300.0)
"""What is kept of it, for processes that do not hear it for a while."""


class Disconnect(msgspec.Struct, tag="disconnect", tag_field="command", frozen=True):
    """Send those connections away that have these identifiers."""

    identifiers: dict[str, str]
    reconnect: bool = True


_read = msgspec.json.Decoder(Disconnect).decode


def disconnect(identifiers: Mapping[str, Any], *, reconnect: bool) -> Publication:
    """The order to disconnect; values are named as :func:`naming.param` does.

    Raises:
        LocalError: no identifier is given, or one has no name.
    """
    if not identifiers:
        raise LocalError(
            "say whom to disconnect, by identifiers: disconnect(current_user=...)"
        )
    words = {name: naming.param(value) for name, value in identifiers.items()}
    return Publication(msgspec.json.encode(Disconnect(words, reconnect)))


def read(publication: Publication) -> Disconnect:
    """The order in a publication on the control stream.

    Raises:
        msgspec.DecodeError: there is none that we know.
    """
    return _read(publication.message)


class Orders:
    """Sees that ``obey`` is given every order, those of a gap included.

    >>> orders = Orders(lambda order: print(order.identifiers))
    >>> orders.heard(disconnect({"user": "ann"}, reconnect=False))
    {'user': 'ann'}

    One that was heard on the edge of a gap may be given again: it says what is to be,
    not what is to change.
    """

    def __init__(self, obey: Callable[[Disconnect], None]) -> None:
        self._obey = obey
        self._position: Position | None = None  # up to which all have been heard

    def begin(self, past: Recall | None) -> None:
        """What was ordered before we listened is not for us."""
        if past is not None and self._position is None:
            self._position = past.position

    def heard(self, publication: Publication) -> None:
        """The next order has come; what it follows on may be missing.

        Raises:
            msgspec.DecodeError: it is none that we know.
        """
        place = Position(publication.epoch, publication.offset)
        before = self._position
        if before is not None:
            is_same = place.epoch == before.epoch
            if place.offset == (before.offset + 1 if is_same else 1):
                self._position = place  # there is nothing between them
        self._obey(read(publication))

    def catch_up(self, past: Recall | None) -> None:
        """There was a gap; this is what is kept of the past."""
        if past is None:
            return
        before, self._position = self._position, past.position
        for publication in past.kept:
            is_known = (
                before is not None
                and publication.epoch == before.epoch
                and publication.offset <= before.offset
            )
            if not is_known:
                self._obey(read(publication))
