"""The fit finds the law that made the numbers, and says how sure it is."""

from __future__ import annotations

import random

import pytest

from loadtest.usl import Fit, fit

LOADS = [100, 200, 400, 800, 1200, 1600, 2000]


@pytest.mark.parametrize(
    ("sigma", "kappa"), [(0.0, 1e-7), (0.001, 1e-6), (0.01, 1e-8), (0.0005, 5e-7)]
)
def test_it_finds_the_coefficients(sigma: float, kappa: float) -> None:
    law = Fit(10.0, sigma, kappa, 0, 0, 1)
    found = fit(LOADS, [law.at(load) for load in LOADS])
    assert found.lambda_ == pytest.approx(10.0, rel=1e-3)
    assert found.sigma == pytest.approx(sigma, rel=1e-3, abs=1e-7)
    assert found.kappa == pytest.approx(kappa, rel=1e-3)
    assert found.peak == pytest.approx(law.peak, rel=1e-3)
    assert found.r_squared == pytest.approx(1.0)
    assert found.sigma_band < 1e-6


def test_noise_widens_the_bands_and_the_truth_is_within() -> None:
    law = Fit(10.0, 0.001, 1e-6, 0, 0, 1)
    noise = [1.01, 0.99, 1.015, 0.985, 1.01, 0.99, 1.005]
    measured = [law.at(n) * off for n, off in zip(LOADS, noise, strict=True)]
    found = fit(LOADS, measured)
    assert found.sigma_band > 0
    assert abs(found.sigma - law.sigma) < found.sigma_band
    assert abs(found.kappa - law.kappa) < found.kappa_band
    assert found.r_squared < 1


@pytest.mark.parametrize("number", [6, 12])
def test_a_band_of_95_percent_holds_the_truth_that_often(number: int) -> None:
    chance = random.Random(1)
    law = Fit(10.0, 0.001, 1e-6, 0, 0, 1)
    loads = [2000 * (step + 1) / number for step in range(number)]
    held = {"sigma": 0, "kappa": 0}
    for _ in range(2000):
        found = fit(loads, [law.at(n) * chance.gauss(1, 0.02) for n in loads])
        held["sigma"] += abs(found.sigma - law.sigma) <= found.sigma_band
        held["kappa"] += abs(found.kappa - law.kappa) <= found.kappa_band
    assert 0.93 <= held["sigma"] / 2000 <= 0.97
    assert 0.93 <= held["kappa"] / 2000 <= 0.97


def test_perfect_scaling_has_no_peak() -> None:
    assert Fit(10.0, 0.1, 0.0, 0, 0, 1).peak is None


def test_too_few_loads_are_refused() -> None:
    with pytest.raises(ValueError, match="a fit needs 6 loads"):
        fit([1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5, 5])
