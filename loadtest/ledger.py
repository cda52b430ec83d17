"""Who was owed which messages, and what came of it.

Message ``n`` of a room is due at a time that is known beforehand, so what a subscriber
is owed follows from when it was let in and when it left, also if it heard nothing:

* from the first message that was due after it was let in (or the first that it heard);
* to the last that was sent; or, if it left of its own will, to the last that was due a
  second before that, for what is on its way to somebody who leaves is not lost. That
  the server has dropped it is no excuse: it is owed the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from loadtest.sequence import Sequence

__all__ = ["GRACE_S", "Ledger", "Speech"]

GRACE_S = 1.0
"""Who leaves is not owed what was due less than this before."""


class Speech(NamedTuple):
    """What is said in one room, at steady intervals.

    >>> speech = Speech(first_ns=1000, every_ns=100, sent=5)
    >>> speech.first_due(1000), speech.first_due(1101), speech.last_due(1250)
    (1, 3, 3)
    """

    first_ns: int
    """When message 1 was to be sent."""
    every_ns: int
    sent: int = 0
    """How many were sent; 0 while nobody knows."""

    def first_due(self, ns: int) -> int:
        """The number of the first message that was due at ``ns`` or later."""
        return max(1, 1 - (self.first_ns - ns) // self.every_ns)

    def last_due(self, ns: int) -> int:
        """The number of the last message that was due at ``ns`` or before."""
        return max(0, 1 + (ns - self.first_ns) // self.every_ns)


class Ledger:
    """Adds up what subscribers were owed, and what they got of it.

    >>> ledger = Ledger()
    >>> ledger.enter(owed=5, received=3)
    >>> ledger.enter(owed=5, received=0)
    >>> ledger.figures()
    {'expected': 10, 'received': 3, 'lost': 7, 'deaf': 1}
    """

    def __init__(self) -> None:
        self.expected = 0
        self.received = 0
        self.deaf = 0

    def enter(self, *, owed: int, received: int) -> None:
        """One subscriber was owed so many messages, and got so many."""
        self.expected += owed
        self.received += received
        self.deaf += owed > 0 and not received

    def enter_stay(
        self,
        speech: Speech | None,
        let_in_ns: int,
        heard: Sequence | None,
        left_ns: int | None,
    ) -> None:
        """One subscriber was there since ``let_in_ns``, until ``left_ns`` or the end.

        Without a ``speech`` nothing was said where it was, or nobody knew of it yet.
        """
        last = 0 if heard is None else heard.next - 1
        if speech is not None:
            due = speech.sent
            if left_ns is not None:
                due = speech.last_due(left_ns - round(GRACE_S * 1e9))
            last = max(last, due)
        if heard is not None:
            self.enter(owed=last - heard.first + 1, received=heard.received)
        elif speech is not None:
            self.enter(owed=max(0, last - speech.first_due(let_in_ns) + 1), received=0)

    def merge(self, figures: Mapping[str, int]) -> None:
        """Add the :meth:`figures` of another process."""
        self.expected += figures["expected"]
        self.received += figures["received"]
        self.deaf += figures["deaf"]

    def figures(self) -> dict[str, int]:
        """``lost`` are those that were owed and never came; ``deaf`` heard nothing."""
        return {
            "expected": self.expected,
            "received": self.received,
            "lost": self.expected - self.received,
            "deaf": self.deaf,
        }
