"""One speaks, all hear: what a broadcast to everybody costs."""

from __future__ import annotations

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.users import CableUser

lab = Lab(SCENARIOS["fanout"], rooms=lambda options: ["fanout"])


class Listener(CableUser):
    """Hears what is said to all."""

    lab = lab
