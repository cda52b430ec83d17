"""Counts what the gateway does and keeps: the same figures on every machine."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gevent import get_hub, sleep

import gateway

__all__ = ["Calls", "kept_bytes", "least", "passing_bytes"]

_OURS = str(Path(gateway.__file__).parent)


class Calls:
    """Counts what functions of ours are called, and what those call in C.

    The clients and the libraries are not ours, so they do not count. Greenlets are
    counted if they began after this was made: Python profiles each of them on its own.
    """

    def __init__(self) -> None:
        self._count = 0
        sys.setprofile(self._called)
        get_hub().loop.run_callback(sys.setprofile, self._called)
        sleep(0)

    def of(self, work: Callable[[], object], times: int) -> int:
        """How many ``work`` makes, in any greenlet."""
        return least(work, lambda: self._count, times)

    def _called(self, frame: Any, event: str, _: object) -> None:
        is_call = event in ("call", "c_call")
        self._count += is_call and frame.f_code.co_filename.startswith(_OURS)


def least(work: Callable[[], object], counter: Callable[[], int], times: int) -> int:
    """By how much ``work`` makes ``counter`` grow, the least of so many times.

    The first, for which things are made that stay, is not one of them. Into others fall
    heartbeats, and on a busy machine more slices of writing.
    """
    work()
    growths = []
    for _ in range(times):
        before = counter()
        work()
        growths.append(counter() - before)
    return min(growths)


def kept_bytes(work: Callable[[], object], first: Callable[[], object]) -> int:
    """How much more memory of Python's is in use after ``work`` than before.

    ``first`` is a little of the same. In it the greenlets of earlier work save their
    stacks anew, more or fewer of them by chance.
    """
    with _traced():
        first()
        before, _ = tracemalloc.get_traced_memory()
        work()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    return after - before


def passing_bytes(work: Callable[[], object], times: int) -> int:
    """How much more of it is in use at some time during ``work``.

    The least of so many times, as :func:`least` has it.
    """

    def grown() -> int:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        _, peak = tracemalloc.get_traced_memory()
        return peak - before

    with _traced():
        grown()
        return min(grown() for _ in range(times))


@contextmanager
def _traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        gc.collect()
        yield
    finally:
        tracemalloc.stop()
