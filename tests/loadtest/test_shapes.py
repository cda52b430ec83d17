"""Raising the load finds the knee of a server whose law is known."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from loadtest.shapes import doubts, find_knee, knee, sentence, steps, try_fit
from loadtest.usl import Fit

STRAIGHT = Fit(10.0, 0, 0, 0, 0, 1)
BENT = Fit(10.0, 0.0005, 1e-6, 0, 0, 1)


class Server:
    """Follows ``law``, and breaks its objectives above ``breaks_at``."""

    def __init__(self, law: Fit, breaks_at: float) -> None:
        self.law, self.breaks_at = law, breaks_at
        self.measured: list[float] = []

    def measure(self, load: float) -> dict[str, Any]:
        self.measured.append(load)
        step = {"load": load, "throughput": self.law.at(load), "invalid": []}
        return {**step, "error": None, "slo": load <= self.breaks_at}


def loads(done: list[dict[str, Any]]) -> list[float]:
    return [step["load"] for step in done]


def test_the_knee_is_closed_in_on_and_the_peak_is_passed() -> None:
    done = find_knee(Server(BENT, 700).measure, 2000)
    assert len(done) >= 6
    good = max(step["load"] for step in done if step["slo"])
    bad = min(step["load"] for step in done if not step["slo"])
    assert good <= 700 < bad
    assert bad - good <= 100
    assert knee(done) == good
    assert BENT.peak is not None
    assert max(loads(done)) > BENT.peak
    text = sentence(done, try_fit(done), "sockets", 2000)
    assert f"met up to {good:,.0f} sockets" in text
    assert "measured beyond it" in text


def test_nothing_is_measured_above_the_most() -> None:
    done = find_knee(Server(STRAIGHT, 1e9).measure, 2000)
    assert max(loads(done)) == 2000
    assert len(done) >= 6
    text = sentence(done, try_fit(done), "sockets", 2000)
    assert "were met up to 2,000 sockets, the most that was measured." in text


def test_the_peak_is_passed_though_it_is_above_the_most() -> None:
    done = find_knee(Server(BENT, 1e9).measure, 800)  # the peak is at 1,000
    assert BENT.peak is not None
    assert max(loads(done)) > BENT.peak
    assert "measured beyond it" in sentence(done, try_fit(done), "sockets", 800)


def test_a_peak_that_is_far_above_the_most_is_not_measured_and_that_is_said() -> None:
    done = find_knee(Server(BENT, 1e9).measure, 300)
    assert max(loads(done)) == 300
    text = sentence(done, try_fit(done), "sockets", 300)
    assert "not measured, as 300 were asked for" in text


def test_a_server_that_never_meets_them() -> None:
    done = find_knee(Server(STRAIGHT, 0).measure, 2000)
    text = sentence(done, try_fit(done), "sockets", 2000)
    assert text.startswith("The objectives were not met at the lowest load.")


@pytest.mark.parametrize("most", [1, 3, 16])
def test_loads_are_whole_and_differ(most: int) -> None:
    for shape in (steps, find_knee):
        server = Server(STRAIGHT, 2)
        shape(server.measure, most)
        assert len(set(server.measured)) == len(server.measured)
        assert all(load >= 1 and load.is_integer() for load in server.measured)


def test_rates_need_not_be_whole_and_are_never_zero() -> None:
    server = Server(STRAIGHT, 0.2)
    find_knee(server.measure, 0.4, lambda load: float(f"{load:.3g}"))
    assert min(server.measured) > 0
    assert max(server.measured) == 0.4


def test_equal_steps() -> None:
    done = steps(Server(STRAIGHT, 500).measure, 600)
    assert loads(done) == [100, 200, 300, 400, 500, 600]


def test_a_load_that_broke_an_objective_ends_what_was_met() -> None:
    met = {10: True, 20: False, 30: True}
    done = [{"load": load, "slo": slo, "invalid": []} for load, slo in met.items()]
    assert knee(done) == 10
    assert knee(done[1:]) is None


def test_only_steps_up_to_the_knee_make_it_doubtful() -> None:
    step = partial(dict, slo=True, invalid=[])
    beyond = step(load=30, slo=False, invalid=["it was busy"])
    assert doubts([step(load=10), step(load=20, slo=False), beyond]) == []
    assert doubts([step(load=20), beyond]) == ["at 30: it was busy"]


def test_what_was_not_delivered_is_said() -> None:
    step = partial(dict, error=None)
    done = [step(load=n, throughput=9 * (n < 5), slo=n < 5) for n in range(1, 8)]
    text = sentence(done, try_fit(done), "sockets", 7)
    assert "Nothing was delivered at 5, 6, 7 sockets" in text
    done = [step(load=1, throughput=3, slo=True)]
    done += [step(load=2, throughput=0, slo=False, error="the server died")]
    text = sentence(done, try_fit(done), "sockets", 1)
    assert "wants six loads to fit; there are 1." in text
