"""How messages get from the process that publishes to those whose clients listen."""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from gateway.errors import ConfigError
from gateway.pubsub.base import PubSub

__all__ = ["ADAPTERS", "create"]

ADAPTERS = {
    "memory": "gateway.pubsub.memory:MemoryPubSub",
    "test": "gateway.pubsub.recording:RecordingPubSub",
    "redis": "gateway.pubsub.redis:RedisPubSub",
}
"""The adapters by their names in ``config/cable.yml``; others as ``module:Class``."""


def create(adapter: str, **options: Any) -> PubSub:
    """Make the adapter of a name, with those of the options that it takes.

    Raises:
        ConfigError: there is none of that name.
    """
    module, _, name = ADAPTERS.get(adapter, adapter).partition(":")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        known = ", ".join(ADAPTERS)
        raise ConfigError(
            "adapter", adapter, f"write one of {known}, or module:Class ({exc})"
        ) from None
    parameters = signature(cls).parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        options = {name: options[name] for name in options if name in parameters}
    made: PubSub = cls(**options)
    return made
