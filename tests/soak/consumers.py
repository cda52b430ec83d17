"""Python consumers, each with its tallies: a process of its own.

python -m tests.soak.consumers ws://HOST:PORT/cable hasty|patient STREAM[,STREAM]...
"""

from __future__ import annotations

import sys

import gevent
import msgspec
from gevent.fileobject import FileObject

from gateway import Consumer
from gateway.websocket import Backoff
from tests.soak.tally import Tally


class Reader:
    """One consumer that follows some streams by one subscription."""

    def __init__(self, url: str, streams: str, backoff: Backoff) -> None:
        self.tallies = {stream: Tally() for stream in streams.split(",")}
        self.begun = False
        self.reconnects = 0
        self.subscription = Consumer(url, backoff=backoff).subscribe(
            "SoakChannel",
            streams=streams,
            received=lambda message: self.tallies[message["s"]].got(message["n"]),
            connected=self._connected,
            history_lost=self._refused,
        )

    def _connected(self, again: bool) -> None:
        self.begun = True
        self.reconnects += again

    def _refused(self) -> None:
        for tally in self.tallies.values():
            tally.refuse()

    def rows(self) -> list[list[int]]:
        """A consumer drops what comes twice; here it counts."""
        next(iter(self.tallies.values())).duplicated += self.subscription.duplicates
        self.subscription.duplicates = 0
        return [tally.row() for tally in self.tallies.values()]


def main(url: str, pace: str, *streams: str) -> None:
    """Follow the streams until the input ends."""
    backoff = Backoff(first_s=0.2, cap_s=1.0) if pace == "hasty" else Backoff()
    readers = [Reader(url, stream, backoff) for stream in streams]

    def report() -> None:
        while True:
            gevent.sleep(0.25)
            states = [reader.subscription.state for reader in readers]
            about = {
                "connected": states.count("confirmed"),
                "begun": all(reader.begun for reader in readers),
                "reconnects": sum(reader.reconnects for reader in readers),
                "rows": [row for reader in readers for row in reader.rows()],
            }
            print(msgspec.json.encode(about).decode(), flush=True)

    gevent.spawn(report)
    FileObject(sys.stdin.buffer, "rb").read()


if __name__ == "__main__":
    main(*sys.argv[1:])
