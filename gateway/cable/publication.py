"""What is published to a stream, on its way from one process to the others."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Publication"]


class Publication(NamedTuple):
    """A message, where it stands in its stream, and who is not to get it.

    >>> Publication(b'{"text":"hello"}').offset
    0
    """

    message: bytes
    """JSON, in UTF-8."""

    exclude: str = ""
    """The id of the connection that shall not hear it, if any."""

    transient: bool = False
    """Not to be kept in the stream's history, and so without an offset."""

    presence: bool = False
    """An event of the stream's presence set, for those who follow that."""

    epoch: str = ""
    """Given when it is published to a stream with a history: which life of it."""

    offset: int = 0
    """Its number in that life, from 1; 0 where there is no history."""

    time: float = 0.0
    """When it was published, in Unix seconds, if it has an offset."""
