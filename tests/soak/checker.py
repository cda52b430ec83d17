"""Runs a plan: starts everything, breaks much of it, and holds all to account."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import gevent
import msgspec
import psutil

from gateway.broadcaster import Broadcaster
from gateway.cable.history import Retention, Retentions
from tests.soak.plan import BRIEF, KEPT, KEPT_BRIEFLY, Plan
from tests.support import eventually
from tests.support.live import ROOT, LiveServer
from tests.support.redis import RedisServer

__all__ = ["Checker", "Verdict"]

_PATIENCE_S = 60.0
"""The npm client may be away for 18 s after it was turned away twice."""

_LAST_WORDS = 12

_SEEN = re.compile(
    r"^gateway_(sockets|healed_total|gaps_lost_total|replayed_total|"
    r"history_rejected_total|redis_up|redis_reconnects_total|draining) (\S+)$",
    re.MULTILINE,
)


class Program:
    """A process that prints a line now and then, and ends with its input."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._output = folder / f"{id(self)}.out"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=output
            )

    @property
    def lines(self) -> list[bytes]:
        """The whole lines it has printed."""
        return self._output.read_bytes().split(b"\n")[:-1]

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


class Clients(Program):
    """Clients of one kind, and their tallies: one for each stream of each client."""

    def __init__(self, folder: Path, kind: str, url: str, pace: str, *clients: str):
        self.kind = kind
        self.count = len(clients)
        self.streams = [stream for each in clients for stream in each.split(",")]
        node = shutil.which("node") or str(ROOT / ".venv/bin/node")
        command = {
            "@anycable/core": (node, str(ROOT / "tests/soak/clients.mjs")),
            "Consumer": (sys.executable, "-m", "tests.soak.consumers"),
        }[kind]
        super().__init__(folder, *command, url, pace, *clients)

    @property
    def state(self) -> dict[str, Any]:
        """What they last said."""
        with self._output.open("rb") as output:
            output.seek(max(0, output.seek(0, 2) - 200 * len(self.streams) - 1000))
            lines = output.read().split(b"\n")
        return msgspec.json.decode(lines[-2]) if len(lines) > 1 else {"connected": 0}

    def are_connected(self) -> bool:
        assert self.process.poll() is None, f"{self.kind}: ended"
        return bool(self.state["connected"] == self.count)

    def are_refused(self) -> bool:
        """Whether each was told that its history is gone."""
        return all(row[4] for row in self.state["rows"])

    def are_at(self, ends: dict[str, int]) -> bool:
        """Whether each has got the last message of its stream."""
        rows = self.state.get("rows", [])
        return [row[0] for row in rows] == [ends[stream] for stream in self.streams]


@dataclass
class Verdict:
    """What some clients got."""

    kind: str
    trial: str
    clients: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    refused: int = 0
    """Times that clients were told so; again, if they were cut before anything new."""
    untold: int = 0
    """Clients that should have been, and were not."""
    partial: int = 0
    """Clients that were told that their history is gone, and got some of it."""
    reconnects: int = 0
    reopened: int = 0
    """Subscriptions that the npm client gave up, as it does when it is cut before they
    are confirmed, and that were made again."""
    faults: list[str] = field(default_factory=list)
    """Who has something to complain of."""

    @property
    def is_clean(self) -> bool:
        """Nobody lost a message without being told, got one twice, or in disorder."""
        faults = (self.lost, self.duplicated, self.disordered, self.untold)
        needless = self.refused if self.trial == "cut" else 0
        return not any((*faults, self.partial, needless))


@dataclass
class Checker:
    """One run of a plan; ``seed`` decides who is hit when."""

    plan: Plan
    folder: Path
    seed: int = 1
    sent: dict[str, int] = field(default_factory=dict)
    blows: list[tuple[float, str]] = field(default_factory=list)
    figures: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def run(self) -> list[Verdict]:
        """Do it all; returns what each kind of client got."""
        self._random = random.Random(self.seed)
        self._programs: list[Program] = []
        with (
            RedisServer(self.folder / "redis") as self.redis,
            self._serve() as self.server,
        ):
            try:
                return self._run()
            finally:
                for program in self._programs:
                    program.stop()

    def _serve(self) -> LiveServer:
        command = ("gunicorn", "-c", "config/gunicorn.py", "tests.soak.app:app")
        return LiveServer(
            self.folder,
            *("--workers", str(self.plan.workers)),
            command=(sys.executable, "-m", *command),
            GATEWAY_ADAPTER="redis",
            GATEWAY_URL=self.redis.url,
            GATEWAY_DRAIN_SECONDS="1",
        )

    def _run(self) -> list[Verdict]:
        plan, pace = self.plan, "hasty" if self.plan.hasty else "patient"
        streams = [f"soak_{number}" for number in range(plan.streams)]
        cutting, holding = self._proxy(plan.cut_s), self._proxy(1e9)
        groups = [
            self._clients(kind, proxy, pace, names)
            for proxy, kind, names in (
                (cutting, "@anycable/core", _dealt(streams, plan.anycable)),
                (cutting, "Consumer", _dealt(streams, plan.consumers)),
                (holding, "@anycable/core", [BRIEF] * plan.away),
                (holding, "Consumer", [BRIEF] * plan.away),
            )
        ]
        there, away = groups[:2], groups[2:]
        eventually(lambda: all(group.are_connected() for group in away), 60)
        eventually(lambda: all(group.state.get("begun") for group in there), 60)
        self._began = monotonic()
        self._over = False
        publishers = [gevent.spawn(self._publish, name) for name in streams]
        helpers = [gevent.spawn(self._break), gevent.spawn(self._watch)]
        # What gets away for too long is tried while all else breaks.
        self._say(BRIEF, KEPT_BRIEFLY // 2)
        eventually(lambda: all(group.are_at(self.sent) for group in away), 60)
        holding.say("hold")
        eventually(lambda: len(holding.lines) == 2)
        self._say(BRIEF, KEPT_BRIEFLY * 2)
        held_at = self.sent[BRIEF]
        holding.say("release")
        for helper in publishers:
            helper.get()
        self._over = True
        helpers[0].get()
        self._await(lambda: all(group.are_refused() for group in away))
        self._go_on(away)
        self._await(lambda: all(group.are_at(self.sent) for group in groups))
        helpers[1].kill()
        self._note_figures()
        return [
            self._judge(group, "away too long" if group in away else "cut", held_at)
            for group in groups
        ]

    # The parts.

    def _proxy(self, mean_s: float) -> Program:
        program = Program(
            self.folder,
            *(sys.executable, "-m", "tests.soak.proxy"),
            *(str(self.server.port), str(mean_s)),
        )
        self._programs.append(program)
        eventually(lambda: program.lines, 20)
        return program

    def _clients(
        self, kind: str, proxy: Program, pace: str, streams: list[str]
    ) -> Clients:
        """``streams`` are those of each client, joined by commas."""
        url = f"ws://127.0.0.1:{int(proxy.lines[0])}/cable"
        clients = Clients(self.folder, kind, url, pace, *streams)
        self._programs.append(clients)
        return clients

    # What is said. Redis may stop meanwhile; then the publisher waits.

    def _publish(self, stream: str) -> None:
        per_second = self.plan.rate / self.plan.streams
        while (passed := monotonic() - self._began) < self.plan.seconds:
            due = int(passed * per_second) - self.sent.get(stream, 0)
            self._say(stream, due)
            gevent.sleep(self._random.uniform(0.5, 1.5) / per_second)

    def _say(self, stream: str, count: int) -> None:
        for _ in range(count):
            number = self.sent.get(stream, 0) + 1
            self._broadcaster.broadcast(stream, {"s": stream, "n": number})
            self.sent[stream] = number

    def _go_on(self, away: list[Clients]) -> None:
        """Say something new until each that was told no has heard it.

        Who is cut just then is told no once more, and hears only what is next.
        """
        for _ in range(_LAST_WORDS):
            self._say(BRIEF, 1)
            if self._await(lambda: all(group.are_at(self.sent) for group in away), 5):
                return

    @property
    def _broadcaster(self) -> Broadcaster:
        if "_speaker" not in self.__dict__:
            brief = {BRIEF: Retention(KEPT_BRIEFLY)}
            self._speaker = Broadcaster.from_url(
                self.redis.url,
                timeout_s=60,
                retentions=Retentions(Retention(KEPT), brief),
            )
        return self._speaker

    # What is broken.

    def _break(self) -> None:
        stop_at = self.plan.seconds / 2
        blows = [
            self._kill_worker,
            self._cut_redis_listeners,
            self._stop_worker,
            self._cut_redis,
        ]
        while not self._over:
            gevent.sleep(self.plan.every_s * self._random.uniform(0.7, 1.3))
            if self._over:
                return
            if stop_at and monotonic() - self._began > stop_at:
                stop_at = 0.0
                self._stop_redis()
            else:
                blows.append(blows.pop(0))
                blows[-1]()

    def _kill_worker(self) -> None:
        self._random.choice(self._workers()).kill()
        self._note("kill -9 of a worker")

    def _stop_worker(self) -> None:
        self._random.choice(self._workers()).terminate()
        self._note("SIGTERM to a worker")

    def _workers(self) -> list[psutil.Process]:
        return eventually(lambda: self.server.workers)

    def _cut_redis_listeners(self) -> None:
        self.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        self._note("Redis' pub/sub connections cut")

    def _cut_redis(self) -> None:
        self.redis.ask("CLIENT", "KILL", "TYPE", "normal")
        self._note("Redis' other connections cut")

    def _stop_redis(self) -> None:
        self.redis.pause()
        gevent.sleep(self.plan.stop_s)
        self.redis.resume()
        self._note(f"Redis stopped for {self.plan.stop_s:g} s")

    def _note(self, what: str) -> None:
        self.blows.append((monotonic() - self._began, what))

    # What an operator sees.

    def _watch(self) -> None:
        while True:
            self._note_figures()
            gevent.sleep(self.plan.seconds / 12)

    def _note_figures(self) -> None:
        try:
            with urlopen(f"{self.server.url}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:  # from a worker that is just killed
            return
        seen = {name: float(value) for name, value in _SEEN.findall(text)}
        self.figures.append((monotonic() - self._began, seen))

    # What is held to account.

    def _await(
        self, condition: Callable[[], bool], patience_s: float = _PATIENCE_S
    ) -> bool:
        """Wait until it is so, and say whether; what never is the verdict tells."""
        deadline = monotonic() + patience_s
        while not (is_so := condition()) and monotonic() < deadline:
            gevent.sleep(0.25)
        return is_so

    def _judge(self, group: Clients, trial: str, held_at: int) -> Verdict:
        verdict = Verdict(group.kind, trial, clients=group.count)
        verdict.reconnects = group.state["reconnects"]
        verdict.reopened = group.state.get("closed", 0)
        for stream, row in zip(group.streams, group.state["rows"], strict=True):
            last, received, duplicated, disordered, refused, told, after, gone = row
            verdict.expected += self.sent[stream] - told
            verdict.received += received
            verdict.lost += gone + self.sent[stream] - last
            verdict.duplicated += duplicated
            verdict.disordered += disordered
            verdict.refused += refused
            verdict.untold += trial != "cut" and not refused
            verdict.partial += bool(refused) and after <= held_at
            if gone or last < self.sent[stream] or duplicated or disordered:
                verdict.faults.append(
                    f"{group.kind} on {stream}: {last} of {self.sent[stream]}, "
                    f"{gone} missing, {duplicated} twice, {disordered} in disorder"
                )
        return verdict


def _dealt(streams: list[str], count: int) -> list[str]:
    """The streams of so many clients: one for each, and two for every second."""
    turns = [streams[number % len(streams)] for number in range(count + 1)]
    return [
        f"{turns[number]},{turns[number + 1]}" if number % 2 else turns[number]
        for number in range(count)
    ]
