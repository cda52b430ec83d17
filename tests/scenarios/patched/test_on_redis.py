"""All scenarios on Redis, once each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.scenarios import SCENARIOS, Scenario
from tests.scenarios.world import RedisWorld, played_in
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)
def test_scenario(play: Scenario, server: RedisServer) -> None:
    server.ask("FLUSHALL")
    world = RedisWorld(server)
    with played_in(world, seed=1):
        play(world)
