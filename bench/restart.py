"""All workers are replaced (HUP) under their sockets: how long each client was away.

Clients are our ``Consumer``, in one process; the workers, Redis and they share what
cores there are. The kernel counts connections refused for lack of backlog.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from bench.case import Result, main
from bench.faults import Scene, all_workers_are_replaced
from tests.support.redis import RedisServer

_BAR_S = 3.0
_BEAT_S = 0.5  # clients in one process could not follow twenty messages a second


def overflows() -> int:
    """Connections that the kernel dropped because no backlog was left."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    counted = dict(zip(names, values, strict=True))
    return int(counted["ListenOverflows"])


def run(quick: bool) -> Iterator[Result]:
    sockets = 1000 if quick else 5000
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "r") as redis:
        folder = Path(name)
        with Scene(folder, redis, workers=2, sockets=sockets, drain_s=5.0) as scene:
            before, began = overflows(), monotonic()
            with scene.traffic(_BEAT_S):
                all_workers_are_replaced(scene)
                scene.recovery()
                took = monotonic() - began
            away = sorted(scene.absences_s)
            what = f"{sockets:,} sockets on two workers, HUP"
            yield Result("restart", f"{what}: absences", len(away), "clients")
            for part, bar in ((0.5, None), (0.99, None), (1.0, _BAR_S)):
                value = away[int(part * (len(away) - 1))]
                label = f"{what}: p{part * 100:g} away"
                yield Result("restart", label, value, "s", at_most=bar)
            refused = overflows() - before
            yield Result("restart", f"{what}: refused", refused, "", at_most=0)
            yield Result("restart", f"{what}: lost", scene.lost, "messages", at_most=0)
            yield Result("restart", f"{what}: the whole restart", took, "s")


if __name__ == "__main__":
    main(run)
