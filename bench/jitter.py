"""The jitter trial: every connection breaks again and again, and nothing is lost.

120 broadcasts, two a second, go to all clients, each of whose connections is reset
after some 15 s; the client is away for 2 s, comes back and says how far it had come.
That goes on for 160 s. One worker; the clients are two processes, which share the other
cores with Redis.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import random
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic, sleep

from bench.broker import broker, serve
from bench.case import Result, table
from bench.processes import pin_load
from bench.resuming import Crew, Reader
from gateway.broadcaster import Broadcaster

_CLIENTS = 10_000
_BROADCASTS = 120
_SECONDS = 160.0
_RATE = 2.0
_LIFE_S = (10.0, 20.0)
_AWAY_S = 2.0
_TRY_AGAIN_S = 0.5
_REPLAY_BAR_S = 2.5
_PROCESSES = 2
_OPENING = 200
_PATIENCE_S = 60.0
_SPARE_DESCRIPTORS = 500
"""What a process needs besides those of its clients, with some to spare."""


@dataclass
class Outcome:
    """What the clients of one process got."""

    received: int
    duplicated: int
    disordered: int
    missing: int
    refused: int
    aborted: int
    broken: int
    replays_s: list[float]


class Jitter:
    """The clients of one process."""

    def __init__(self, crew: Crew, count: int, messages: int) -> None:
        self.readers = [Reader(room=1) for _ in range(count)]
        self._crew = crew
        self._messages = messages
        self._dates: list[tuple[float, int, Reader]] = []  # to go, or to come
        self._due: dict[Reader, float] = {}
        self._chance = random.Random(count)
        self._aborted = 0

    def run(self, orders: Connection) -> Outcome:
        """Break connections until told to stop; then wait for what is missing."""
        now = monotonic()
        for reader in self.readers:
            self._set_date(now + self._chance.uniform(0, _LIFE_S[1]), reader)
        until = None
        while until is None or (monotonic() < until and not self._is_whole()):
            if until is None and orders.poll():
                until = monotonic() + _PATIENCE_S
            for reader in self._crew.turn(0.02):
                self._set_date(monotonic() + _TRY_AGAIN_S, reader)
            self._keep_dates(going=until is None)
        return self._outcome()

    def _is_whole(self) -> bool:
        return all(reader.tally.last >= self._messages for reader in self.readers)

    def _keep_dates(self, *, going: bool) -> None:
        now = monotonic()
        while self._dates and self._dates[0][0] <= now:
            at, _, reader = heapq.heappop(self._dates)
            if at != self._due[reader]:
                continue  # the server was faster
            if not self._crew.has(reader):
                self._crew.come(reader)
                self._set_date(now + self._chance.uniform(*_LIFE_S), reader)
            elif going:
                self._crew.abort(reader)
                self._aborted += 1
                self._set_date(now + _AWAY_S, reader)

    def _set_date(self, at: float, reader: Reader) -> None:
        self._due[reader] = at
        heapq.heappush(self._dates, (at, id(reader), reader))

    def _outcome(self) -> Outcome:
        tallies = [reader.tally for reader in self.readers]
        return Outcome(
            received=sum(tally.received for tally in tallies),
            duplicated=sum(tally.duplicated for tally in tallies),
            disordered=sum(tally.disordered for tally in tallies),
            missing=sum(
                len(tally.missing) + self._messages - tally.last for tally in tallies
            ),
            refused=sum(tally.refused for tally in tallies),
            aborted=self._aborted,
            broken=self._crew.broken,
            replays_s=[each for reader in self.readers for each in reader.replays_s],
        )


def clients(port: int, count: int, messages: int, orders: Connection) -> None:
    """One process: all its clients come, then their connections break."""
    pin_load()
    with Crew(port) as crew:
        jitter = Jitter(crew, count, messages)
        crew.settle(jitter.readers, _OPENING)
        orders.send("ready")
        orders.send(jitter.run(orders))


def trial(count: int, broadcasts: int, seconds: float) -> tuple[list[Outcome], float]:
    """What ``count`` clients got, and the worker's share of its core meanwhile."""
    spawned = multiprocessing.get_context("spawn")
    with (
        broker() as redis,
        serve(redis, ping_interval="3", websocket_ping_interval="25") as server,
        Broadcaster.from_url(redis.url) as speaker,
    ):
        lines = []
        for number in range(_PROCESSES):
            ours, theirs = spawned.Pipe()
            some = count // _PROCESSES + (number < count % _PROCESSES)
            spawned.Process(
                target=clients,
                args=(server.port, some, broadcasts, theirs),
                daemon=True,
            ).start()
            theirs.close()
            lines.append(ours)
        for line in lines:
            line.recv()
        began, before = monotonic(), server.cpu_s()
        for number in range(broadcasts):
            sleep(max(0.0, began + number / _RATE - monotonic()))
            speaker.broadcast("chat_1", {"n": number + 1})
        sleep(max(0.0, began + seconds - monotonic()))
        busy = (server.cpu_s() - before) / (monotonic() - began)
        for line in lines:
            line.send("that is all")
        return [line.recv() for line in lines], busy


def most_clients() -> int:
    """As many as the trial wants, or as one worker may have descriptors for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_CLIENTS, hard - _SPARE_DESCRIPTORS)


def run(count: int, broadcasts: int, seconds: float) -> Iterator[Result]:
    outcomes, busy = trial(count, broadcasts, seconds)
    yield Result("jitter", "clients", count, "")
    aborted = sum(each.aborted for each in outcomes)
    yield Result("jitter", "connections broken by us", aborted, "")
    broken = sum(each.broken for each in outcomes)
    yield Result("jitter", "connections ended by the server", broken, "", at_most=0)
    lost, expected = sum(each.missing for each in outcomes), count * broadcasts
    note = f"{expected - lost:,} of {expected:,} delivered"
    yield Result("jitter", "lost", lost, "messages", at_most=0, note=note)
    for what in ("duplicated", "disordered", "refused"):
        found = sum(getattr(each, what) for each in outcomes)
        yield Result("jitter", what, found, "", at_most=0)
    replays = sorted(each for outcome in outcomes for each in outcome.replays_s)
    yield Result("jitter", "replays", len(replays), "")
    for part, bar in ((0.5, None), (0.99, _REPLAY_BAR_S), (1.0, None)):
        took = replays[int(part * (len(replays) - 1))] if replays else 0.0
        name = f"back until nothing is missing, p{part * 100:g}"
        yield Result("jitter", name, took, "s", at_most=bar)
    yield Result("jitter", "the worker's core is busy", busy * 100, "%")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.jitter")
    parser.add_argument("--clients", type=int, default=most_clients())
    parser.add_argument("--broadcasts", type=int, default=_BROADCASTS)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of it all")
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    results = list(run(options.clients, options.broadcasts, options.seconds))
    if options.json:
        print(*(each.json() for each in results), sep="\n")
    else:
        print(table(results))
    return int(any(each.is_met is False for each in results))


if __name__ == "__main__":
    sys.exit(main())
