"""Who is present on a stream. Pure: the memory adapter keeps these, Redis has its own.

A member is known by an id; several sessions (tabs, devices) may be the same member. It
joins with the first and leaves with the last. A session that is not heard of for a
while ends by itself, so that a lost process's members do not stay for ever.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

__all__ = ["LINGER_S", "TOUCH_S", "PresenceSet", "failed", "info", "joined", "left"]

LINGER_S = 15.0
"""How long a session stays that is not heard of."""

TOUCH_S = 5.0
"""How often a process says that its sessions are still there."""

_encode = msgspec.json.Encoder().encode


def joined(member: str, about: Any) -> bytes:
    """The event of somebody coming, as JSON."""
    return _encode({"type": "join", "id": member, "info": about})


def left(member: str) -> bytes:
    """The event of somebody going."""
    return _encode({"type": "leave", "id": member})


def info(members: dict[str, Any], *, records: bool = True) -> bytes:
    """Who is there; without ``records`` just how many."""
    answer: dict[str, Any] = {"type": "info", "total": len(members)}
    if records:
        answer["records"] = [
            {"id": member, "info": about} for member, about in members.items()
        ]
    return _encode(answer)


def failed(total: int = 0) -> bytes:
    """It cannot be told who is there, though perhaps how many."""
    return _encode({"type": "error", "total": total})


class _Session(NamedTuple):
    member: str
    until: float


class PresenceSet:
    """The members of one stream.

    >>> present = PresenceSet()
    >>> present.join("42", "tab-1", {"name": "Ann"}, now=0)
    [b'{"type":"join","id":"42","info":{"name":"Ann"}}']
    >>> present.join("42", "tab-2", {"name": "Ann"}, now=0)
    []
    >>> present.leave("tab-1"), present.leave("tab-2")
    (None, b'{"type":"leave","id":"42"}')
    """

    __slots__ = ("_sessions", "members")

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}
        self._sessions: dict[str, _Session] = {}

    def join(self, member: str, session: str, about: Any, now: float) -> list[bytes]:
        """A session is there as ``member``, and nobody else any longer; the events."""
        before = self._sessions.get(session)
        changed = before is not None and before.member != member
        gone = self.leave(session) if changed else None
        came = None if member in self.members else joined(member, about)
        self.members[member] = about
        self._sessions[session] = _Session(member, now + LINGER_S)
        return [event for event in (gone, came) if event is not None]

    def leave(self, session: str) -> bytes | None:
        """A session is gone; the event, if it was its member's last."""
        gone = self._sessions.pop(session, None)
        if gone is None or any(
            s.member == gone.member for s in self._sessions.values()
        ):
            return None
        del self.members[gone.member]
        return left(gone.member)

    def touch(self, session: str, now: float) -> bool:
        """It is still there; False if it is not known."""
        known = self._sessions.get(session)
        if known is not None:
            self._sessions[session] = _Session(known.member, now + LINGER_S)
        return known is not None

    def expire(self, now: float) -> list[bytes]:
        """End the sessions that were not heard of; the events."""
        late = [name for name, s in self._sessions.items() if s.until <= now]
        events = [self.leave(name) for name in late]
        return [event for event in events if event is not None]
