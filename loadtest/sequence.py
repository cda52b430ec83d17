"""What one subscriber hears of a stream: losses, duplicates, reorderings."""

from __future__ import annotations

__all__ = ["Sequence"]


class Sequence:
    """Checks the numbers of one stream's messages at one subscriber.

    ``first`` is the first that it is owed; what is older does not count.

    >>> sequence = Sequence(first=1)
    >>> [sequence.hear(number) for number in (1, 3, 2, 2)]
    ['new', 'new', 'reordered', 'duplicated']
    >>> sequence.missing_until(5)
    2
    """

    __slots__ = ("_skipped", "first", "next", "received")

    def __init__(self, first: int) -> None:
        self.first = first
        self.next = first
        self.received = 0
        self._skipped: set[int] | None = None

    def hear(self, number: int) -> str:
        """Count a message: it is ``new``, ``reordered``, ``duplicated`` or ``old``."""
        if number < self.first:
            return "old"
        if number == self.next:
            self.next = number + 1
        elif number > self.next:
            self._skipped = self._skipped or set()
            self._skipped.update(range(self.next, number))
            self.next = number + 1
        elif self._skipped and number in self._skipped:
            self._skipped.discard(number)
            self.received += 1
            return "reordered"
        else:
            return "duplicated"
        self.received += 1
        return "new"

    def missing_until(self, last: int) -> int:
        """How many messages up to number ``last`` have not come."""
        return max(0, last - self.first + 1) - self.received
