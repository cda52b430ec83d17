"""What can be measured, in a list: each scenario has a Locust file of the same name."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["SCENARIOS", "Scenario"]

_HEARD = ("deliver", "connect", "subscribe", "rtt")


class Scenario(NamedTuple):
    """A way to use a server.

    >>> Scenario("news", "one tells, all read", rate=2.0).latencies[0]
    'deliver'
    """

    name: str
    summary: str
    rate: float = 1.0
    """Messages a second, unless ``--rate`` says otherwise."""
    latencies: tuple[str, ...] = _HEARD
    """What it measures; an objective that names none means the first."""
    cut_every: int = 0
    """Each so many messages a subscriber is cut off; 0: never."""
    cable_only: bool = False
    """Whether no other server than Action Cable's has what it needs."""

    def refusal(self, rate: float, duration: float, dialect: str) -> str | None:
        """Why it would measure nothing for so many seconds on such a server, if so.

        >>> print(SCENARIOS["storm"].refusal(rate=1.0, duration=5.0, dialect="plain"))
        storm cuts connections at every 10th message, and 1 a second for 5 s are 5: ...
        """
        if self.cable_only and dialect != "cable":
            return f"{self.name} is for --dialect cable only: {self.summary}"
        messages = math.ceil(rate * duration)
        if messages >= self.cut_every:
            return None
        return (
            f"{self.name} cuts connections at every {self.cut_every}th message, and "
            f"{rate:g} a second for {duration:g} s are {messages}: "
            "raise --rate or --duration"
        )


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "idle",
            "sockets subscribe and are only there",
            latencies=("connect", "subscribe"),
        ),
        Scenario(
            "echo",
            "each sends to itself; the next when the last is back",
            latencies=("rtt", "connect", "subscribe"),
        ),
        Scenario("fanout", "one speaks, all hear"),
        Scenario(
            "rooms",
            "many small rooms; each hears what is said in it",
            cable_only=True,
        ),
        Scenario("dashboard", "a stream of figures to all", rate=4.0),
        Scenario("churn", "stay two seconds, leave, come again"),
        Scenario(
            "storm",
            "every tenth message cuts everybody off; all come back at once",
            latencies=(*_HEARD, "back"),
            cut_every=10,
        ),
        Scenario(
            "slow_reader",
            "one in a hundred stops reading; the others are measured",
            rate=5.0,
        ),
        Scenario(
            "resume",
            "each is cut off every tenth message, and told what it missed",
            rate=4.0,
            cut_every=10,
            cable_only=True,
        ),
    )
}
