"""Connect, stay a while, leave, come again: what coming and going costs."""

from __future__ import annotations

import gevent

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.users import CableUser

_STAY_S = 2.0
_AWAY_S = 1.0

lab = Lab(SCENARIOS["churn"], rooms=lambda options: ["churn"])


class Visitor(CableUser):
    """Stays two to three seconds, says goodbye, and is away for one."""

    lab = lab

    def ready(self) -> None:
        gevent.spawn_later(_STAY_S + self.index % 100 / 100, self._go)

    def _go(self) -> None:
        if not self.lab.quiet:
            self.leave()
            self.open_later(_AWAY_S)
