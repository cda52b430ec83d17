"""What happens on the cable, for those who want to know (blinker, as Flask's own).

Each is sent with the Flask app as its sender, in an app context.

>>> from gateway.signals import connected
>>> @connected.connect
... def greet(app, connection):
...     print("welcome", connection.identifiers)
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import Namespace

__all__ = [
    "SIGNALS",
    "announce",
    "connected",
    "disconnected",
    "rejected",
    "subscribed",
    "subscription_rejected",
    "too_slow",
]

logger = logging.getLogger("gateway.cable")

_signals = Namespace()

connected = _signals.signal("connected", doc="``connection``: a client was welcomed.")
rejected = _signals.signal("rejected", doc="``connection``: a client was refused.")
subscribed = _signals.signal("subscribed", doc="``channel``: it was confirmed.")
subscription_rejected = _signals.signal(
    "subscription_rejected", doc="``channel``: it was rejected."
)
too_slow = _signals.signal(
    "too_slow", doc="``connection``: it did not read what it was sent, and was closed."
)
disconnected = _signals.signal(
    "disconnected", doc="``connection``, ``reason``: a client is gone."
)

SIGNALS = _signals
"""All of them, by name."""


def announce(app: object, event: str, /, **about: Any) -> None:
    """Send a signal by its name; a receiver that fails costs nobody anything."""
    signal = SIGNALS[event]
    if signal.receivers:
        try:
            signal.send(app, **about)
        except Exception:
            logger.exception("a receiver of %r failed: %s", event, about)
