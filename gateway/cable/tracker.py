"""Who is present through this process, and what its clients know of who else is.

The adapter keeps who is present (``gateway.cable.presence``). A process says every few
seconds which of its own sessions are still there. It remembers who they are, so that
they join again if the broker has forgotten them, or had given them up. It remembers
too what the followers of a stream were told (``gateway.cable.roster``), and corrects
that when events may have been lost on the way here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from gateway.cable.roster import Roster
from gateway.errors import PubSubError

if TYPE_CHECKING:
    from gateway.cable.hub import Backend
    from gateway.cable.messages import PresenceJoin

__all__ = ["Tracker"]

logger = logging.getLogger("gateway.cable")


class Tracker:
    """The sessions of this process that are present, and the streams it follows.

    A session is one subscription's presence on a stream; its name is no other's, in any
    process. ``tell(stream, event)`` tells an event to those who follow it here. Nobody
    who comes or goes is held up by a broker that is away: it is told when it is back.
    """

    def __init__(self, backend: Backend, tell: Callable[[str, bytes], None]) -> None:
        self._backend = backend
        self._tell = tell
        self._sessions: dict[str, dict[str, PresenceJoin]] = {}  # by stream, by name
        self._untold: set[tuple[str, str]] = set()  # of which the broker may not know
        self._rosters: dict[str, Roster] = {}  # by stream
        self._numbers = count(1)
        self._touching = False

    @property
    def sessions(self) -> dict[str, list[str]]:
        """The sessions that are present through this process, by stream.

        Streams that are only followed are there too, for others' sessions may have
        ended.
        """
        found: dict[str, list[str]] = {stream: [] for stream in self._rosters}
        found.update({name: list(these) for name, these in self._sessions.items()})
        return found

    # Our own sessions.

    def name(self, connection: str) -> str:
        """A new name for a session of a connection."""
        return f"{connection}.{next(self._numbers)}"

    def enter(self, stream: str, session: str, who: PresenceJoin) -> None:
        """A session is present. May wait."""
        self._sessions.setdefault(stream, {})[session] = who
        self._join(stream, session)

    def leave(self, stream: str, session: str) -> None:
        """It is not any longer. May wait."""
        if self._forget(stream, session):
            try:
                self._backend.leave(stream, session)
            except PubSubError as exc:  # it ends by itself
                logger.info("%r was not told that %s left: %s", stream, session, exc)

    def linger(self, stream: str, session: str) -> None:
        """It is gone, but may come back: the broker keeps it for a while. May wait."""
        if (stream, session) in self._untold:
            self._untold.discard((stream, session))
            self._join(stream, session)
        self._forget(stream, session)

    def _forget(self, stream: str, session: str) -> bool:
        """Say no longer that it is there; False if we did not."""
        sessions = self._sessions.get(stream, {})
        known = sessions.pop(session, None) is not None
        if known and not sessions:
            del self._sessions[stream]
        return known

    def _join(self, stream: str, session: str) -> None:
        """Tell the broker who a session is, and what becomes of it meanwhile."""
        told = None
        try:
            while (who := self._who(stream, session)) is not told:
                if who is None:
                    self._backend.leave(stream, session)
                else:
                    self._backend.join(stream, who.id, session, who.info)
                told = who
        except PubSubError as exc:
            self._untold.add((stream, session))
            logger.info("%r was not told that %s came: %s", stream, session, exc)

    def _who(self, stream: str, session: str) -> PresenceJoin | None:
        return self._sessions.get(stream, {}).get(session)

    def members(self, stream: str) -> dict[str, Any]:
        """The members of a stream, and what is known about them. May wait.

        Raises:
            PubSubError: it cannot be known just now.
        """
        return self._backend.present(stream)

    # Those who follow.

    def follow(self, stream: str) -> None:
        """Somebody here wants to know who comes and goes on an open stream."""
        roster = self._rosters.get(stream)
        if roster is None:
            roster = self._rosters[stream] = Roster()
        roster.followers += 1

    def unfollow(self, stream: str) -> None:
        """One of those does not any longer."""
        roster = self._rosters[stream]
        roster.followers -= 1
        if not roster.followers:
            del self._rosters[stream]

    def heard(self, stream: str, event: bytes) -> None:
        """Somebody has come or gone: tell those who follow, unless they know."""
        roster = self._rosters.get(stream)
        if roster is None or roster.hear(event):
            self._tell(stream, event)

    def resume(self, streams: list[str]) -> None:
        """Events of these streams may have been lost on the way here."""
        for stream in streams:
            roster = self._rosters.get(stream)
            if roster is not None:
                roster.doubt()

    # From time to time.

    def touch(self) -> None:
        """Say who is still there, and bring right what is not. May wait.

        To be called every ``TOUCH_S``; if the last call still waits, it does nothing.
        """
        if self._touching:
            return
        self._touching = True
        try:
            unknown = self._backend.touch(self.sessions)
            untold, self._untold = self._untold, set()
            for stream, sessions in unknown.items():
                untold |= {(stream, session) for session in sessions}
            for stream, session in untold:
                self._join(stream, session)
            for stream, roster in list(self._rosters.items()):
                if roster.is_due():
                    self._correct(stream, roster)
        except PubSubError as exc:
            logger.warning("who is present could not be told: %s", exc)
        finally:
            self._touching = False

    def _correct(self, stream: str, roster: Roster) -> None:
        roster.begin()
        try:
            present = self._backend.present(stream)
        except PubSubError as exc:
            roster.give_up()
            logger.info("who is present on %r cannot be known: %s", stream, exc)
            return
        for event in roster.correct(present):
            self._tell(stream, event)
