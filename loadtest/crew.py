"""Who holds the sockets: worker processes of Locust, or this process itself.

Whoever conducts a run need not know which: it tells the crew to begin, what will be
said, to be quiet, and asks it what everybody was owed and got.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

import gevent
import psutil

from loadtest.ledger import Ledger, Speech
from loadtest.machine import Usage
from loadtest.options import shared

if TYPE_CHECKING:
    from loadtest.lab import Lab

__all__ = ["Crew", "Here", "Worker", "Workers"]

Taken = dict[str, Any]
Speeches = Mapping[str, Speech]

_ANSWER_S = 30.0
_TICK_S = 0.05


class Crew(Protocol):
    """Those who hold the sockets."""

    name: str
    """What this process is called in the report."""

    def begin(self, run: int, arrival_rate: float) -> None:
        """The run of this number begins, in which so many sockets open a second."""

    def announce(self, speeches: Speeches) -> None:
        """The time to measure begins, and this will be said."""

    def quiet(self) -> None:
        """The time to send, and to cut connections, is over."""

    def audit(self, speeches: Speeches) -> Ledger:
        """What all were owed until now and got.

        Raises:
            TimeoutError: a part of the crew does not answer.
        """

    def missing(self) -> str | None:
        """A sentence, if a part of the crew is gone."""


class Here:
    """The sockets are in this process."""

    name = "generator"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def begin(self, run: int, arrival_rate: float) -> None:
        self._lab.begin(run, arrival_rate)
        gevent.spawn(tick, self._lab)

    def announce(self, speeches: Speeches) -> None:
        self._lab.announce(dict(speeches))

    def quiet(self) -> None:
        self._lab.quiet = True

    def audit(self, speeches: Speeches) -> Ledger:
        return self._lab.audit(dict(speeches))

    def missing(self) -> str | None:
        return None


class Workers:
    """The sockets are in Locust's workers; ``take`` is given what they measure."""

    name = "speaker"

    def __init__(
        self, lab: Lab, runner: Any, take: Callable[[str, Taken], object]
    ) -> None:
        self._lab, self._runner, self._take = lab, runner, take
        self._clients: set[str] = set()
        self._children: list[psutil.Process] = []
        self._question = 0
        self._answers: dict[str, dict[str, int]] = {}
        runner.register_message("lab-audited", self._audited)
        runner.environment.events.worker_report.add_listener(self._reported)

    def begin(self, run: int, arrival_rate: float) -> None:
        self._lab.begin(run, arrival_rate)
        self._children = [child for child in _children() if _lives(child)]
        self._clients = self._present()
        share = arrival_rate / max(1, len(self._clients))
        options = shared(self._lab.options)
        self._send("begin", run=run, arrival_rate=share, options=options)

    def announce(self, speeches: Speeches) -> None:
        self._send("announce", speeches=dict(speeches))

    def quiet(self) -> None:
        self._send("quiet")

    def audit(self, speeches: Speeches) -> Ledger:
        self._question += 1
        self._answers.clear()
        self._send("audit", question=self._question, speeches=dict(speeches))
        until = monotonic() + _ANSWER_S
        while len(self._answers) < self._living():
            if monotonic() > until:
                raise TimeoutError("a worker of the generator does not answer")
            gevent.sleep(0.01)
        ledger = Ledger()
        for figures in self._answers.values():
            ledger.merge(figures)
        return ledger

    def missing(self) -> str | None:
        if self._clients <= self._present() and all(map(_lives, self._children)):
            return None
        return "a worker process of the generator has died: what it heard is unknown"

    def _living(self) -> int:
        clients = len(self._present() & self._clients)
        if not self._children:
            return clients
        return min(clients, sum(map(_lives, self._children)))

    def _present(self) -> set[str]:
        clients = self._runner.clients
        if self._children:  # we see ourselves whether they live, however busy they are
            return set(clients)
        return {name for name, each in clients.items() if each.state != "missing"}

    def _send(self, what: str, **data: object) -> None:
        self._runner.send_message(f"lab-{what}", data)

    def _reported(self, client_id: str, data: dict[str, Any]) -> None:
        self._took(client_id, data.get("lab", {}))

    def _audited(self, environment: Any, msg: Any, **_: Any) -> None:
        self._took(msg.node_id, msg.data["lab"])
        if msg.data["question"] == self._question:
            self._answers[msg.node_id] = msg.data["ledger"]

    def _took(self, client_id: str, taken: Taken) -> None:
        if taken.get("run") == self._lab.run:
            self._take(f"worker {client_id[-6:]}", taken)


class Worker:
    """A worker process: does what the crew is told, and reports every second."""

    def __init__(self, lab: Lab, environment: Any, runner: Any) -> None:
        self._lab, self._runner = lab, runner
        self._usage = Usage()
        environment.events.report_to_master.add_listener(self._report)
        runner.register_message("lab-begin", self._begin)
        runner.register_message("lab-announce", self._announce)
        runner.register_message("lab-quiet", self._quiet)
        runner.register_message("lab-audit", self._audit)

    def _begin(self, environment: Any, msg: Any, **_: Any) -> None:
        self._usage = Usage()
        self._lab.adopt(msg.data["options"])
        self._lab.begin(msg.data["run"], msg.data["arrival_rate"])
        gevent.spawn(tick, self._lab)

    def _announce(self, environment: Any, msg: Any, **_: Any) -> None:
        self._lab.announce(_speeches(msg))

    def _quiet(self, environment: Any, msg: Any, **_: Any) -> None:
        self._lab.quiet = True

    def _audit(self, environment: Any, msg: Any, **_: Any) -> None:
        answer = {
            "question": msg.data["question"],
            "ledger": self._lab.audit(_speeches(msg)).figures(),
            "lab": self._taken(),
        }
        self._runner.send_message("lab-audited", answer)

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        if self._lab.run:
            usage = self._usage.take(self._lab.sockets)
            data["lab"] = {**self._taken(), "usage": usage}

    def _taken(self) -> Taken:
        return {**self._lab.samples.take(), "run": self._lab.run}


def tick(lab: Lab) -> None:
    """See how late this process would handle what comes now, until ``lab`` is quiet.

    A tick that was missed counts, too: it is as late as those who would have come then.
    """
    due = time() + _TICK_S
    samples = lab.samples
    while samples is lab.samples and not lab.quiet:
        gevent.sleep(max(0.0, due - time()))
        now = time()
        while due <= now:
            samples.latency("lag", now - due)
            due += _TICK_S


def _speeches(msg: Any) -> dict[str, Speech]:
    return {room: Speech(*fields) for room, fields in msg.data["speeches"].items()}


def _children() -> list[psutil.Process]:
    return list(psutil.Process().children())


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
