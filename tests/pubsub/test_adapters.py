"""Adapters by their names, those of third parties included."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import pubsub
from gateway.cable.history import Retention, Retentions
from gateway.errors import ConfigError
from gateway.pubsub.memory import MemoryPubSub

OPTIONS = {
    "url": "rabbit://h",
    "prefix": "shop",
    "timeout_s": 1.5,
    "on_failure": "queue",
    "max_queued": 7,
    "retentions": Retentions(Retention(5)),
}


class Rabbit(MemoryPubSub):
    """Takes some."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__()
        self.given: Any = (url, timeout_s)


class Hare(MemoryPubSub):
    """Takes all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(options["retentions"])
        self.given: Any = options


def test_adapters_are_given_what_they_take() -> None:
    memory = pubsub.create("memory", **OPTIONS)
    assert memory.retentions is OPTIONS["retentions"]
    rabbit = pubsub.create(f"{__name__}:Rabbit", **OPTIONS)
    assert isinstance(rabbit, Rabbit)
    assert rabbit.given == ("rabbit://h", 1.5)
    hare = pubsub.create(f"{__name__}:Hare", **OPTIONS)
    assert isinstance(hare, Hare)
    assert hare.given == OPTIONS


@pytest.mark.parametrize("name", ["rabbit", "no.such:Thing", "gateway.pubsub:Nothing"])
def test_adapters_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match="write one of memory, test, redis"):
        pubsub.create(name)
