"""Turns at Redis: so many commands are under way at once, the others wait in line."""

from __future__ import annotations

from collections import deque
from threading import Lock

__all__ = ["Turns"]


class Turns:
    """So many turns, given back and handed on to whoever has waited longest.

    Threads may share them, and so may greenlets. The standard library's semaphore
    serves greenlets badly: its condition goes round gevent's loop four times for each
    who waits, and in a loop that is busy with new clients hundreds that came at once
    waited for longer than their commands may take.

    >>> turns = Turns(1)
    >>> turns.take(timeout_s=1.0)
    True
    >>> turns.take(timeout_s=0.01)
    False
    >>> turns.give_back()
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: deque[Lock] = deque()  # each is released when it is one's turn
        self._changing = Lock()

    def take(self, timeout_s: float) -> bool:
        """Wait for a turn; False if it does not come in time."""
        with self._changing:
            if self._free:
                self._free -= 1
                return True
            mine = Lock()
            mine.acquire()
            self._line.append(mine)
        try:
            is_mine = mine.acquire(timeout=timeout_s)
        except BaseException:  # the greenlet is killed
            if not self._leave(mine):
                self.give_back()
            raise
        return is_mine or not self._leave(mine)

    def give_back(self) -> None:
        """Let the next one have it."""
        with self._changing:
            if self._line:
                self._line.popleft().release()
            else:
                self._free += 1

    def _leave(self, place: Lock) -> bool:
        """Wait no longer; False if the turn has been handed over meanwhile."""
        with self._changing:
            if place in self._line:
                self._line.remove(place)
                return True
            return False
