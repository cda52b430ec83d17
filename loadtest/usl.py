"""The universal scalability law: where throughput bends, and why.

X(N) = λN / (1 + σ(N - 1) + κN(N - 1)): σ is contention (what must wait its turn), κ is
crosstalk (what grows with every pair). Gunther, "Guerrilla Capacity Planning", ch. 4.
N/X is a polynomial in N, so the fit is linear least squares, weighted so that relative
errors of throughput count alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LEAST_LOADS", "Fit", "fit", "student"]

LEAST_LOADS = 6

_COEFFICIENTS = 3
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""


class Fit(NamedTuple):
    """The three coefficients, the 95 % bands of two (half widths), and R²."""

    lambda_: float
    sigma: float
    kappa: float
    sigma_band: float
    kappa_band: float
    r_squared: float

    def at(self, load: float) -> float:
        """The throughput the law predicts."""
        grown = 1 + self.sigma * (load - 1) + self.kappa * load * (load - 1)
        return self.lambda_ * load / grown

    @property
    def peak(self) -> float | None:
        """The load beyond which throughput falls; None if it never does."""
        if self.kappa <= 0 or self.sigma >= 1:
            return None
        return math.sqrt((1 - self.sigma) / self.kappa)


def fit(loads: Sequence[float], throughputs: Sequence[float]) -> Fit:
    """Fit the law.

    Raises:
        ValueError: there are fewer than six different loads, or no throughput.

    >>> true = Fit(100.0, 0.02, 0.0001, 0, 0, 1)
    >>> loads = [1, 10, 30, 60, 100, 150]
    >>> round(fit(loads, [true.at(load) for load in loads]).peak)
    99
    """
    if len(set(loads)) < LEAST_LOADS or min(throughputs) <= 0:
        raise ValueError(f"a fit needs {LEAST_LOADS} loads, all with some throughput")
    n, x = np.asarray(loads, float), np.asarray(throughputs, float)
    # N/X = a + b(N - 1) + cN(N - 1), with λ = 1/a, σ = b/a, κ = c/a; the smallest
    # load is the unit, or else the columns would be nearly the same.
    scale = n.min()
    m = n / scale
    columns = np.column_stack([np.ones_like(m), m - 1, m * (m - 1)])
    weights = x / m
    weighted = columns * weights[:, None]
    (a, b, c), *_ = np.linalg.lstsq(weighted, np.ones_like(m), rcond=None)
    covariance = _covariance(weighted, np.array([a, b, c]))
    return _unscaled(a, b, c, scale, covariance, n, x)


def _covariance(weighted: Any, solution: Any) -> Any:
    """How unsure the solution is, from its residuals."""
    residuals = weighted @ solution - 1
    variance = residuals @ residuals / (len(residuals) - _COEFFICIENTS)
    return variance * np.linalg.pinv(weighted.T @ weighted)


def student(freedom: int) -> float:
    """How many standard errors a 95 % band reaches either way (Student's t).

    With six loads there are three degrees of freedom: 3.18, not the 1.96 of many.

    >>> student(3)
    3.182
    >>> round(student(30), 2)
    2.04
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    # Abramowitz and Stegun, 26.7.5: its error is below 0.001 from here on.
    z = 1.959964
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _unscaled(a: Any, b: Any, c: Any, s: Any, cov: Any, n: Any, x: Any) -> Fit:
    """From the unit of the smallest load back to the unit of one.

    With m = N/s, a + b(m - 1) + cm(m - 1) is A + B(N - 1) + CN(N - 1) where
    C = c/s², B = (b - c)/s + C and A = a - b + B; all times s, as m/X was fitted.
    """
    back = s * np.array(
        [
            [1, -1 + 1 / s, -1 / s + 1 / s**2],
            [0, 1 / s, -1 / s + 1 / s**2],
            [0, 0, 1 / s**2],
        ]
    )
    one, two, three = back @ np.array([a, b, c])
    cov = back @ cov @ back.T
    predicted = n / (one + two * (n - 1) + three * n * (n - 1))
    off = float(((x - predicted) ** 2).sum())
    spread = float(((x - x.mean()) ** 2).sum())
    reach = student(len(n) - _COEFFICIENTS)
    return Fit(
        float(1 / one),
        float(two / one),
        float(three / one),
        reach * _ratio_error(two, one, cov[1, 1], cov[0, 0], cov[0, 1]),
        reach * _ratio_error(three, one, cov[2, 2], cov[0, 0], cov[0, 2]),
        1 - off / spread if spread else 1.0,
    )


def _ratio_error(top: Any, under: Any, vt: Any, vu: Any, both: Any) -> float:
    """The standard error of ``top / under``, by the delta method."""
    ratio = top / under
    variance = (vt - 2 * ratio * both + ratio**2 * vu) / under**2
    return math.sqrt(max(0.0, float(variance)))
