"""Sockets that only are there: what holding them costs."""

from __future__ import annotations

from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.users import CableUser

lab = Lab(SCENARIOS["idle"])


class Holder(CableUser):
    """Subscribes, and hears nothing but heartbeats."""

    lab = lab
