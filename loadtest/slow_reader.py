"""One in a hundred does not read: do the others notice?"""

from __future__ import annotations

from gevent.event import Event

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.stamps import Stamp
from loadtest.users import CableUser

_ONE_IN = 100
_NEVER = Event()

lab = Lab(SCENARIOS["slow_reader"], rooms=lambda options: ["slow_reader"])


class Reader(CableUser):
    """The first of each hundred stops reading at its first message.

    It is not in the ledger, and that the server closes it is not held against it; the
    latencies are those of the others.
    """

    lab = lab
    stalled = None

    def ready(self) -> None:
        if self.index % _ONE_IN == 0:
            self.let_in_ns = 0

    def heard(self, stamp: Stamp) -> None:
        if self.index % _ONE_IN:
            super().heard(stamp)
        elif self.ws is not None:
            self.lab.samples.count("stalled")
            self.stalled, self.ws = self.ws, None
            _NEVER.wait()

    def cut(self) -> None:
        self.ws = self.ws or self.stalled
        super().cut()
