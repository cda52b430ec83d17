"""A cable client in Python: what ``createConsumer`` is in JavaScript.

It connects on its own, comes back when the connection is lost or silent, and subscribes
anew, as Rails' client does. Tests, the load lab and other services use it.
"""

from __future__ import annotations

from gateway.consumer.consumer import Consumer
from gateway.consumer.subscription import (
    ConsumerClosed,
    ConsumerSubscription,
    Disconnected,
    SubscriptionRejected,
)

__all__ = [
    "Consumer",
    "ConsumerClosed",
    "ConsumerSubscription",
    "Disconnected",
    "SubscriptionRejected",
]
