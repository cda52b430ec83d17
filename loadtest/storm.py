"""Everybody loses the connection at once and comes back at once."""

from __future__ import annotations

from time import monotonic

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.stamps import Stamp
from loadtest.users import CableUser

lab = Lab(SCENARIOS["storm"], rooms=lambda options: ["storm"])


class Returner(CableUser):
    """Is cut off by every tenth message; ``back`` is the time until it is let in."""

    lab = lab
    cut_at = 0.0

    def heard(self, stamp: Stamp) -> None:
        super().heard(stamp)
        cut_every = self.lab.scenario.cut_every
        if stamp.number % cut_every == 0 and self.ws and not self.lab.quiet:
            self.lab.samples.count("cut")
            self.cut_at = monotonic()
            self.retire()
            self.cut()
            self.open_later(0.0)

    def ready(self) -> None:
        if self.cut_at:
            self.lab.samples.latency("back", monotonic() - self.cut_at)
