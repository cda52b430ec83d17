"""The server's own figures, where it shows any: Prometheus text at ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any
from urllib.parse import urlsplit

import requests

__all__ = ["LEAST_SOCKETS", "Target", "summary"]

LEAST_SOCKETS = 100
"""With fewer it cannot be told what one costs."""

_NAMES = {
    "gateway_sockets": "sockets",
    "gateway_process_cpu_seconds_total": "cpu_seconds",
    "gateway_process_resident_bytes": "rss",
}
_TRIES = 3
_TIMEOUT_S = 5.0


class Target:
    """Asks a gateway for its sockets, CPU seconds and memory.

    A server that does not tell is asked three times, then no more.
    """

    def __init__(self, url: str) -> None:
        self._url = ""
        self.figures: list[dict[str, float]] = []
        self.aim(url)

    def aim(self, url: str) -> None:
        """Ask the server at ``url`` from now on."""
        parts = urlsplit(url)
        scheme = "https" if parts.scheme == "wss" else "http"
        page = f"{scheme}://{parts.netloc}/metrics"
        if page != self._url:
            self._url, self._tries, self.figures = page, 0, []

    def ask(self) -> None:
        """Ask once, if there is any use in it."""
        if not self.figures and self._tries == _TRIES:
            return
        self._tries += 1
        try:
            text = requests.get(self._url, timeout=_TIMEOUT_S).text
        except requests.RequestException:
            return
        found: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name in _NAMES:
                found[_NAMES[name]] = float(value)
        if len(found) == len(_NAMES):
            self.figures.append({"at": time(), **found})


def summary(
    figures: Sequence[Mapping[str, float]], phases: Mapping[str, float]
) -> dict[str, Any] | None:
    """What sockets cost the server while measuring, less what it needs without them.

    CPU is in percent of a core; None if the server has told too little, or there were
    too few sockets.
    """
    before = [one for one in figures if one["at"] <= phases["start"]]
    hold = phases.get("hold", phases["end"])
    end = phases.get("drain", phases["end"])
    held = [one for one in figures if hold <= one["at"] <= end + 1.0]
    if not before or len(held) < 2:
        return None
    base, idle_cpu = before[-1], _cpu(before[0], before[-1])
    sockets = max(one["sockets"] for one in held) - base["sockets"]
    if sockets < LEAST_SOCKETS:
        return None
    cpu = _cpu(held[0], held[-1])
    memory = max(one["rss"] for one in held)
    thousands = sockets / 1000
    return {
        "sockets": sockets,
        "cpu": round(cpu, 2),
        "cpu_before": round(idle_cpu, 2),
        "cpu_per_1000": round((cpu - idle_cpu) / thousands, 2),
        "memory_bytes": memory,
        "memory_bytes_before": base["rss"],
        "memory_bytes_per_1000": round((memory - base["rss"]) / thousands),
    }


def _cpu(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    seconds = now["at"] - before["at"]
    if seconds < 0.5:
        return 0.0
    return (now["cpu_seconds"] - before["cpu_seconds"]) / seconds * 100
