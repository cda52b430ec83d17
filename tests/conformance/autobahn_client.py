"""Puts our client to the Autobahn testsuite: an echo in each case of its server.

python -m tests.conformance.autobahn_client ws://127.0.0.1:9001
"""

from __future__ import annotations

import sys
from contextlib import suppress

from gateway.errors import ConnectionClosed
from gateway.websocket import Backoff, Limits, connect

__all__ = ["run"]

AGENT = "gateway"

LIMITS = Limits(max_message_bytes=2**24, max_outgoing_bytes=2**25)
"""Section 9 sends 16 MiB in one message and wants them back."""


def run(url: str) -> int:
    """Run all cases of the suite at ``url`` and have it write its report."""
    count = _count(url)
    for case in range(1, count + 1):
        _echo(f"{url}/runCase?case={case}&agent={AGENT}")
    # It writes thousands of files before it answers.
    with connect(f"{url}/updateReports?agent={AGENT}", open_timeout=None) as ws:
        ws.wait_closed()
    return count


def _count(url: str) -> int:
    """How many cases there are; the suite takes some seconds to start."""
    with connect(f"{url}/getCaseCount", reconnect=Backoff(cap_s=1.0)) as ws:
        return int(ws.receive(timeout=60))


def _echo(url: str) -> None:
    with connect(url, limits=LIMITS) as ws, suppress(ConnectionClosed):
        for message in ws:
            ws.send(message)


if __name__ == "__main__":
    print(f"{run(sys.argv[1])} cases run")
