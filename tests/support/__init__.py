"""What the tests share: waiting for a condition, raw sockets, live servers."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import gevent

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(predicate: Callable[[], T | None], timeout: float = 10.0) -> T:
    """Wait until ``predicate()`` is true; return what it gave, or fail at last."""
    deadline = monotonic() + timeout
    while not (value := predicate()):
        assert monotonic() < deadline, f"not within {timeout} s: {predicate}"
        gevent.sleep(0.005)
    return value
