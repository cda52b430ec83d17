"""What is compared does the same work, at the same time, on the same cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from bench import jitter, peers
from bench.broker import broker
from bench.case import Result
from bench.dialects import CABLE
from bench.processes import gateway
from bench.turns import in_turns, ratios, side


@pytest.fixture
def cores() -> Iterator[set[int]]:
    """Those that this process may use, now and afterwards."""
    cores = os.sched_getaffinity(0)
    yield cores
    os.sched_setaffinity(0, cores)


def test_turns_alternate() -> None:
    order = []

    def measure(name: str, figure: float) -> float:
        order.append(name)
        return figure

    ours, theirs = in_turns(2, lambda: measure("a", 3), lambda: measure("b", 2))
    assert order == ["a", "b", "a", "b"]
    assert ratios(ours, theirs) == [1.5, 1.5]


@pytest.mark.process
@pytest.mark.usefixtures("cores")
def test_ours_and_the_floor_send_the_same_bytes() -> None:
    with side(gateway(), CABLE, 5) as us:
        floor = peers.start("floor", "fanout")
        if floor is None:
            pytest.skip("no C compiler")
        with side(floor, peers.DIALECTS["floor"], 5) as them:
            ours, theirs = us.fan_out(6, 3), them.fan_out(6, 3)
    assert ours.wire_bytes == theirs.wire_bytes
    assert ours.cpu_us > 0
    assert theirs.cpu_us > 0


@pytest.mark.process
def test_redis_is_kept_off_the_servers_core(cores: set[int]) -> None:
    with broker() as redis:
        beside = os.sched_getaffinity(redis.process.pid)
    assert beside == cores - {0} or cores == {0}


@pytest.mark.process
@pytest.mark.usefixtures("cores")
def test_the_jitter_trial_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--clients", "20", "--broadcasts", "4", "--seconds", "2"]
    monkeypatch.setattr(sys, "argv", ["jitter", *size])
    assert jitter.main() == 0
    assert "80 of 80 delivered" in capsys.readouterr().out


def test_a_jitter_trial_with_losses_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Result("jitter", "lost", 1, "messages", at_most=0)
    monkeypatch.setattr(jitter, "run", lambda *_: iter([lost]))
    monkeypatch.setattr(sys, "argv", ["jitter"])
    assert jitter.main() == 1
