"""Action Cable for Flask, on greenlets: WebSockets, channels and broadcasts.

Three levels, each usable without the one above: bare WebSockets
(:mod:`gateway.websocket`), the cable (:class:`Gateway`, :class:`Channel`,
:class:`Connection`), and what runs it (``gateway serve``). Names are loaded when they
are first used, so bare WebSockets need no Flask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.broadcaster import Broadcaster
    from gateway.cable.callbacks import (
        after_command,
        after_subscribe,
        after_unsubscribe,
        before_command,
        before_subscribe,
        before_unsubscribe,
        periodically,
        rescue_from,
    )
    from gateway.cable.channel import Channel, action
    from gateway.cable.connection import Connection
    from gateway.consumer import Consumer
    from gateway.errors import GatewayError
    from gateway.extension import Channels, Gateway
    from gateway.reasons import CloseReason

__all__ = [
    "Broadcaster",
    "Channel",
    "Channels",
    "CloseReason",
    "Connection",
    "Consumer",
    "Gateway",
    "GatewayError",
    "action",
    "after_command",
    "after_subscribe",
    "after_unsubscribe",
    "before_command",
    "before_subscribe",
    "before_unsubscribe",
    "periodically",
    "rescue_from",
]
__version__ = "0.1.0"

_HOMES = {
    "Broadcaster": "gateway.broadcaster",
    "Channel": "gateway.cable.channel",
    "Channels": "gateway.extension",
    "CloseReason": "gateway.reasons",
    "Connection": "gateway.cable.connection",
    "Consumer": "gateway.consumer",
    "Gateway": "gateway.extension",
    "GatewayError": "gateway.errors",
    "action": "gateway.cable.channel",
    "rescue_from": "gateway.cable.callbacks",
    "periodically": "gateway.cable.callbacks",
    "before_unsubscribe": "gateway.cable.callbacks",
    "before_subscribe": "gateway.cable.callbacks",
    "before_command": "gateway.cable.callbacks",
    "after_unsubscribe": "gateway.cable.callbacks",
    "after_subscribe": "gateway.cable.callbacks",
    "after_command": "gateway.cable.callbacks",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
