"""Redis for what is measured with it, and the application that speaks through it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import Server, pin_load
from tests.support.redis import RedisServer

__all__ = ["broker", "serve"]


@contextmanager
def broker() -> Iterator[RedisServer]:
    """A Redis of one's own, beside the load: the servers' core is theirs."""
    pin_load()
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as redis:
        yield redis


def serve(redis: RedisServer, workers: int = 1, **settings: str) -> Server:
    """The application of the benches, on this Redis.

    ``settings`` are those of ``config/cable.yml``, in lower case.
    """
    given = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    return Server(
        *(sys.executable, "-m", "gateway", "serve", "bench.app:app"),
        *("--bind", "0.0.0.0:{port}", "--workers", str(workers)),
        environ={
            "GATEWAY_ADAPTER": "redis",
            "GATEWAY_URL": redis.url,
            "GATEWAY_MAX_OUTGOING_BYTES": str(2**28),
            "GATEWAY_DRAIN_SECONDS": "0",
            "GATEWAY_PING_INTERVAL": "3600",
            "GATEWAY_WEBSOCKET_PING_INTERVAL": "null",
            **given,
        },
    )
