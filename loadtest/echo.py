"""Each sends to itself, the next message when the last is back: round trips."""

from __future__ import annotations

from time import time_ns
from typing import Any

import gevent

from loadtest.dialects import Cable
from loadtest.lab import Lab
from loadtest.ledger import Ledger
from loadtest.samples import LATE_NS
from loadtest.scenarios import SCENARIOS
from loadtest.sequence import Sequence
from loadtest.stamps import Stamp
from loadtest.users import CableUser

lab = Lab(SCENARIOS["echo"])


class Caller(CableUser):
    """Round trips count from when a message should have been sent."""

    lab = lab
    dialect = Cable(channel="EchoChannel", action="echo", param="")
    spoken = 0

    def begin(self) -> None:
        if self.lab.measuring and self.let_in_ns and self.sequence is None:
            self.sequence = Sequence(1)
            apart_s = self.index % 100 / 100 / self.lab.rate
            self._say_at(time_ns() + round(apart_s * 1e9))

    ready = begin  # whichever comes last

    def heard(self, stamp: Stamp) -> None:
        if self.take("rtt", stamp):
            self._say_at(stamp.intended_ns + round(1e9 / self.lab.rate))

    def account(self, ledger: Ledger, speech: Any) -> None:
        if self.sequence is not None:
            ledger.enter(owed=self.spoken, received=self.sequence.received)

    def _say_at(self, intended_ns: int) -> None:
        now = time_ns()
        if now - intended_ns > LATE_NS:
            self.lab.samples.count("behind")  # the answer took so long
        due_ns = max(now, intended_ns)
        gevent.spawn_later((due_ns - now) / 1e9, self._say, intended_ns, due_ns)

    def _say(self, intended_ns: int, due_ns: int) -> None:
        if self.ws is None or self.lab.quiet:
            return
        self.lab.samples.count("sent")
        if time_ns() - due_ns > LATE_NS:
            self.lab.samples.count("late")
        self.spoken += 1
        stamp = Stamp(self.room, self.lab.run, self.spoken, intended_ns, 0)
        self.send(self.lab.dialect.echo(stamp.text(self.lab.options.size), self.room))
