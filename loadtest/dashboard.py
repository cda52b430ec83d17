"""A stream of figures, some a second, to many browsers."""

from __future__ import annotations

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.users import CableUser

lab = Lab(SCENARIOS["dashboard"], rooms=lambda options: ["dashboard"])


class Viewer(CableUser):
    """Looks at the one dashboard."""

    lab = lab

    @property
    def room(self) -> str:
        return "dashboard"
