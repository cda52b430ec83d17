"""Many small rooms: each hears only what is said in it."""

from __future__ import annotations

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.users import CableUser

lab = Lab(
    SCENARIOS["rooms"],
    rooms=lambda options: [f"r{number}" for number in range(options.room_count)],
)


class Member(CableUser):
    """Is in one of the rooms; the rooms fill up in turn."""

    lab = lab

    @property
    def room(self) -> str:
        return f"r{self.index % self.lab.options.room_count}"
