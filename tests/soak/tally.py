"""What one client got of a stream, held against the numbers 1, 2, 3 …"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts as messages come. ``tests/soak/clients.mjs`` does the same.

    >>> tally = Tally()
    >>> for number in (1, 2, 2, 5, 4):
    ...     tally.got(number)
    >>> tally.duplicated, tally.disordered, sorted(tally.missing)
    (1, 1, [3])
    """

    last: int = 0
    received: int = 0
    duplicated: int = 0
    disordered: int = 0
    refused: int = 0
    """Times that it was told that its history is gone."""
    told: int = 0
    """Messages missing that it was told of so."""
    resumed_at: int = 0
    """The first message after it was told."""
    missing: set[int] = field(default_factory=set)
    _forewarned: bool = False

    def got(self, number: int) -> None:
        """A message has come."""
        self.received += 1
        if number <= self.last:
            if number in self.missing:
                self.missing.discard(number)
                self.disordered += 1
            else:
                self.duplicated += 1
            return
        skipped = range(self.last + 1, number)
        if self._forewarned:
            self.told += len(skipped)
            self.resumed_at = number
        else:
            self.missing.update(skipped)
        self._forewarned = False
        self.last = number

    def refuse(self) -> None:
        """The server says that it cannot tell what was missed."""
        self.refused += 1
        self._forewarned = True

    def row(self) -> list[int]:
        """What the checker wants to know."""
        return [
            self.last,
            self.received,
            self.duplicated,
            self.disordered,
            self.refused,
            self.told,
            self.resumed_at,
            len(self.missing),
        ]
