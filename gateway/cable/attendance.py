"""One subscription's part in the presence of a stream."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.cable import messages, presence
from gateway.errors import PubSubError

if TYPE_CHECKING:
    from gateway.cable.connection import Wire
    from gateway.cable.messages import PresenceJoin
    from gateway.cable.tracker import Tracker

__all__ = ["Attendance"]

logger = logging.getLogger("gateway.cable")


class Attendance:
    """Follows who is present on ``stream``, and makes the client present there.

    Nobody is present before its subscription is confirmed; the client's wish to be may
    come even before there is a stream.
    """

    __slots__ = ("_follows", "_session", "_tracker", "_wanted", "_wire", "stream")

    def __init__(self, tracker: Tracker, wire: Wire) -> None:
        self.stream = ""
        self._tracker = tracker
        self._wire = wire
        self._follows = False
        self._session = ""
        self._wanted: PresenceJoin | None = None

    def begin(self, stream: str) -> None:
        """This stream, which is open, is the one that has presence."""
        self.stream = stream
        self._follows = self._wire.extended  # others are not told who comes and goes
        if self._follows:
            self._tracker.follow(stream)

    def enter_later(self, who: PresenceJoin) -> None:
        """The client is to be present as soon as it is let in."""
        self._wanted = who

    def confirmed(self) -> None:
        """It is let in. May wait."""
        if self._wanted is None:
            return
        if self.stream:
            self.enter(self._wanted)
        else:
            logger.warning(
                "#%s cannot be present, for it has no stream with presence: "
                "stream_from(name, presence=True) makes one",
                self._wire.id,
            )
        self._wanted = None

    def enter(self, who: PresenceJoin) -> None:
        """The client is present, under an id. May wait."""
        if not self._session:
            self._session = self._tracker.name(self._wire.id)
        self._tracker.enter(self.stream, self._session, who)

    def leave(self) -> None:
        """It is present no longer. May wait."""
        self._wanted = None
        self._tracker.leave(self.stream, self._session)

    def tell(self, identifier: str, *, records: bool, max_bytes: int) -> None:
        """Tell the client who is present, unless that is longer. May wait."""
        try:
            members = self._tracker.members(self.stream)
        except PubSubError as exc:
            logger.info("#%s is not told who is present: %s", self._wire.id, exc)
            self._wire.send_text(messages.presence(identifier, presence.failed()))
            return
        frame = messages.presence(identifier, presence.info(members, records=records))
        if len(frame) > max_bytes:
            logger.warning(
                "#%s is not told who the %d members of %r are: the answer has %d "
                "bytes, and more than %d would cut it off (max_outgoing_bytes)",
                *(self._wire.id, len(members), self.stream, len(frame), max_bytes),
            )
            frame = messages.presence(identifier, presence.failed(len(members)))
        self._wire.send_text(frame)

    def end(self, *, lingering: bool) -> None:
        """The subscription is over. One that is ``lingering`` may come back. May wait.

        What the client wants from now on leads to nothing.
        """
        stream, self.stream = self.stream, ""
        if self._follows:
            self._follows = False
            self._tracker.unfollow(stream)
        if lingering:
            self._tracker.linger(stream, self._session)
        else:
            self._tracker.leave(stream, self._session)
