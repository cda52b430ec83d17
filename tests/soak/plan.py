"""How much is tried: the sizes of a run, and what both sides must know."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BRIEF", "KEPT", "KEPT_BRIEFLY", "LONG", "Plan", "SHORT"]

BRIEF = "brief"
"""A stream that keeps so little that who is away has missed more."""

KEPT_BRIEFLY = 20
KEPT = 1000


@dataclass(frozen=True)
class Plan:
    """One run."""

    anycable: int
    consumers: int
    workers: int
    rate: float
    """Messages a second, over all streams."""
    streams: int
    seconds: float
    away: int
    """Clients of each kind that are away longer than the history reaches."""
    cut_s: float
    """How long a TCP connection lives, on average."""
    every_s: float
    """Between two blows: a worker killed, a worker stopped, connections to Redis cut,
    those that listen or the others."""
    stop_s: float
    """How long Redis stops, once."""
    hasty: bool
    """Whether the npm clients come back within a second, not within nine."""


LONG = Plan(200, 500, 4, 200.0, 20, 60.0, 20, 20.0, 4.0, 3.0, hasty=False)
SHORT = Plan(8, 16, 2, 60.0, 4, 6.0, 3, 4.0, 1.0, 1.0, hasty=True)
