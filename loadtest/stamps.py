"""What a measuring message carries: run, stream, number, and intended send time.

The stamp is plain text between two marks, so it is found in any protocol's frame
without parsing it. Times are nanoseconds of the wall clock, which the processes of one
machine share; across machines their clocks' difference is part of every ``deliver``.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Stamp", "find", "read"]

_MARK = "@@"


class Stamp(NamedTuple):
    """One message of a stream; ``number`` counts from 1.

    >>> read(find('{"message":"%s"}' % Stamp("all", 1, 1, 7, 5).text(40)))
    Stamp(stream='all', run=1, number=1, intended_ns=7, every_ns=5)
    """

    stream: str
    run: int
    """Which: others may measure the same server, or have done so."""
    number: int
    intended_ns: int
    every_ns: int
    """Between two messages of the stream; 0 if it has no beat."""

    def text(self, size: int = 0) -> str:
        """The stamp, padded to ``size`` characters."""
        return (_MARK + ":".join(map(str, self)) + _MARK).ljust(size, ".")


def find(text: str) -> str | None:
    """The stamp inside a frame, or None if there is none."""
    start = text.find(_MARK)
    end = text.find(_MARK, start + 2)
    return text[start + 2 : end] if 0 <= start < end else None


def read(found: str | None) -> Stamp | None:
    """The fields of what :func:`find` found; None if they are none of ours."""
    stream, *numbers = (found or "").split(":")
    if len(numbers) != 4 or not all(map(str.isdecimal, numbers)):
        return None
    return Stamp(stream, *map(int, numbers))
