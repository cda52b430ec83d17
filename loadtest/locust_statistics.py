"""Our samples and failures in Locust's own statistics, many at a time.

Locust rounds to milliseconds; the report uses our histograms instead.
"""

from __future__ import annotations

from collections import Counter
from time import time
from typing import Any

from locust.stats import RequestStats, StatsError, bucket_response_time

__all__ = ["LocustStatistics"]

_METHOD = "WS"
_SAMPLED = ("reordered",)
"""Failures that are no requests of their own: a sample of them was taken."""


class LocustStatistics:
    """What Locust's table, page and exit code show of our figures."""

    def __init__(self, stats: RequestStats) -> None:
        self._stats = stats

    def samples(self, name: str, microseconds: Counter[int]) -> None:
        """Add samples (microseconds, and how often) as requests called ``name``."""
        if name == "lag":
            return  # our own, and no request
        for entry in (self._stats.total, self._stats.get(name, _METHOD)):
            _add(entry, microseconds)

    def failure(self, name: str, kind: str, why: str, times: int) -> None:
        """Add failures of requests called ``name``; they took no time that counts."""
        for entry in (self._stats.total, self._stats.get(name, _METHOD)):
            entry.num_failures += times
            entry.num_fail_per_sec[int(time())] += times
            if kind not in _SAMPLED:
                entry.num_requests += times
                entry.num_none_requests += times
        key = StatsError.create_key(_METHOD, name, why)
        error = self._stats.errors.setdefault(key, StatsError(_METHOD, name, why))
        error.occurred()
        error.occurrences += times - 1


def _add(entry: Any, microseconds: Counter[int]) -> None:
    now = time()
    least, most = min(microseconds) / 1000, max(microseconds) / 1000
    before = entry.min_response_time
    entry.min_response_time = least if before is None else min(before, least)
    entry.max_response_time = max(entry.max_response_time, most)
    for value, count in microseconds.items():
        entry.total_response_time += value * count / 1000
        entry.response_times[bucket_response_time(value / 1000)] += count
    entry.num_requests += microseconds.total()
    entry.num_reqs_per_sec[int(now)] += microseconds.total()
    entry.last_request_timestamp = now
