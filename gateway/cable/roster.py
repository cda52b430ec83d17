"""Who is present on a stream, as those who follow it in this process were told.

They are told by events. Where events may have been lost the broker is asked who is
there, and the difference is told: who came, who went. It is not asked at once: a broker
that has lost its memory learns only now, from each process, who is present.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.cable import presence

__all__ = ["Roster"]

_ROUNDS = 1
"""So many rounds of touching pass before a roster that is in doubt is corrected."""


class _Change(msgspec.Struct, frozen=True):
    type: Literal["join", "leave"]
    id: str


_read = msgspec.json.Decoder(_Change).decode


class Roster:
    """The members of one stream, and how many here follow it.

    >>> roster = Roster()
    >>> roster.begin(), roster.correct({"ann": None})
    (None, [])
    >>> roster.hear(b'{"type":"join","id":"bob","info":null}')
    True
    >>> roster.begin(), roster.correct({"bob": None})  # ann went, and we missed it
    (None, [b'{"type":"leave","id":"ann"}'])
    """

    __slots__ = ("_heard", "_is_settled", "_members", "_wait", "followers")

    def __init__(self) -> None:
        self.followers = 0
        self._members: set[str] | None = None  # None: not known yet
        # What is known was asked for a while ago: no event can be older than that.
        self._is_settled = False
        self._wait: int | None = 0  # so many rounds, then we ask; None: no need to
        self._heard: list[_Change] | None = None  # while we ask

    def hear(self, event: bytes) -> bool:
        """Take an event in; False if it is no news to anybody."""
        change = _read(event)
        if self._heard is not None:
            self._heard.append(change)
        if self._members is None:
            return True
        return _take(self._members, change) or not self._is_settled

    def doubt(self) -> None:
        """Events may have been lost."""
        self._wait = _ROUNDS

    def is_due(self) -> bool:
        """Another round has passed: whether to ask now who is present."""
        self._is_settled = self._members is not None
        if self._wait is None:
            return False
        self._wait -= 1
        return self._wait < 0

    def begin(self) -> None:
        """It is being asked who is present."""
        self._heard = []
        self._wait = None

    def give_up(self) -> None:
        """There is no answer; the next round it is to be asked again."""
        self._heard = None
        self._wait = 0

    def correct(self, present: dict[str, Any]) -> list[bytes]:
        """Take the answer; returns the events that tell what was missed."""
        members = set(present)
        for change in self._heard or ():  # it may be newer than the answer
            _take(members, change)
        before, self._members = self._members, members
        self._heard = None
        if before is None:
            return []
        gone = [presence.left(member) for member in before - members]
        return gone + [
            presence.joined(member, about)
            for member, about in present.items()
            if member in members and member not in before
        ]


def _take(members: set[str], change: _Change) -> bool:
    """Follow a change; False if it is none."""
    before = len(members)
    if change.type == "join":
        members.add(change.id)
    else:
        members.discard(change.id)
    return len(members) != before
