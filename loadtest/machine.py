"""The machine that ran it, how busy a process of it is, and where the server is."""

from __future__ import annotations

import os
import platform
import resource
import socket
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, process_time, time
from typing import Any
from urllib.parse import urlsplit

import psutil

__all__ = ["Usage", "describe", "is_here", "is_loopback"]


def describe(url: str) -> dict[str, Any]:
    """What a reader must know of this machine, and of that of the server."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "python": platform.python_version(),
        "server_is_here": is_here(url),
    }


def is_here(url: str) -> bool:
    """Whether the server at ``url`` is on this machine, and shares its cores.

    >>> is_here("ws://127.0.0.1:8000/cable")
    True
    """
    for address in _addresses(url):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((address, 0))  # only one's own can be bound
            except OSError:
                continue
            return True
    return False


def is_loopback(url: str) -> bool:
    """Whether the server at ``url`` can be reached from all of 127.0.0.x.

    >>> is_loopback("ws://localhost:8000/cable"), is_loopback("wss://[::1]/cable")
    (True, False)
    """
    found = [ip_address(address) for address in _addresses(url)]
    return any(address.version == 4 and address.is_loopback for address in found)


def _addresses(url: str) -> list[str]:
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return []
    return sorted({str(entry[4][0]) for entry in found})


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Usage:
    """CPU and memory of this process, since the last time."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._base = self._process.memory_info().rss
        self._before = monotonic(), process_time()

    def take(self, sockets: int) -> dict[str, float]:
        """``cpu`` is in percent of one core, over ``seconds``; ``base`` in bytes was
        the memory in the beginning."""
        now = monotonic(), process_time()
        (then, used_then), self._before = self._before, now
        seconds = max(1e-9, now[0] - then)
        return {
            "at": time(),
            "seconds": seconds,
            "cpu": round((now[1] - used_then) / seconds * 100, 1),
            "rss": self._process.memory_info().rss,
            "base": self._base,
            "sockets": sockets,
        }
