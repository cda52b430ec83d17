"""All scenarios in memory, with several seeds; the seed is in the test's name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.scenarios import IN_MEMORY, SCENARIOS
from tests.scenarios.world import MemoryWorld, played_in


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "play", [*SCENARIOS, *IN_MEMORY], ids=lambda play: play.__name__
)
def test_scenario(play: Callable[[MemoryWorld], None], seed: int) -> None:
    world = MemoryWorld()
    with played_in(world, seed):
        play(world)


def test_there_are_enough() -> None:
    assert len(SCENARIOS) >= 30
