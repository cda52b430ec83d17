"""Raising the load step by step, to find where it bends.

Each step is a run of its own, with fresh sockets, so that no step hears the echo of
another. ``steps`` measures equal steps; ``find_knee`` doubles the load until an
objective breaks, halves the gap, fits the law, and then measures beyond its peak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loadtest.usl import LEAST_LOADS, Fit, fit

__all__ = [
    "Measure",
    "Tidy",
    "doubts",
    "find_knee",
    "knee",
    "lowest",
    "sentence",
    "steps",
    "three_digits",
    "try_fit",
    "whole",
]

Step = dict[str, Any]

Measure = Callable[[float], Step]
"""Runs one load; gives ``load``, ``throughput``, percentiles, ``slo`` (met?),
``invalid`` (the reasons, if it is) and ``error`` (why it ended early, if it did)."""

Tidy = Callable[[float], float]
"""Makes a load that can be run of one that was computed."""

_NUMBER = 6
_FIRST_SHARE = 1 / 16
_MOST_DOUBLINGS = 6
_HALVINGS = 3
_BEYOND = 1.25
_TRIES_BEYOND = 3
_FARTHEST = 2.0
"""How far beyond the load that was asked for the law's peak is followed."""


def whole(load: float) -> float:
    """Sockets come in whole numbers."""
    return float(max(1, round(load)))


def three_digits(load: float) -> float:
    """Rates come in any, but nobody wants to read them to the last digit.

    >>> three_digits(0.4 / 6)
    0.0667
    """
    return float(f"{load:.3g}")


def lowest(shape: str, most: float) -> float:
    """The least load that ``shape`` takes on its way to ``most``."""
    return most * (_FIRST_SHARE if shape == "knee" else 1 / _NUMBER)


def steps(measure: Measure, most: float, tidy: Tidy = whole) -> list[Step]:
    """Equal steps up to ``most``: six, or fewer if there are not so many loads."""
    loads = {tidy(most * step / _NUMBER) for step in range(1, _NUMBER + 1)}
    return [measure(load) for load in sorted(loads)]


def find_knee(measure: Measure, most: float, tidy: Tidy = whole) -> list[Step]:
    """Steps around the load where an objective breaks.

    None is above ``most``, but for those that go beyond the peak that the law predicts:
    they reach twice as far.
    """
    done: dict[float, Step] = {}

    def take(load: float) -> bool:
        load = tidy(load)
        if load not in done:
            done[load] = measure(load)
        return bool(done[load]["slo"])

    load = most * _FIRST_SHARE
    while take(load) and load < most and len(done) < _MOST_DOUBLINGS:
        load = min(most, load * 2)
    good = max((load for load, step in done.items() if step["slo"]), default=0.0)
    bad = min((load for load, step in done.items() if not step["slo"]), default=good)
    for _ in range(_HALVINGS):
        if tidy((good + bad) / 2) in (good, bad) or bad - good <= good / 10:
            break
        middle = (good + bad) / 2
        good, bad = (middle, bad) if take(middle) else (good, middle)
    top = max(done)
    for number in range(1, LEAST_LOADS):  # the law wants six; fill in from below
        if len(done) < LEAST_LOADS:
            take(top * number / LEAST_LOADS)
    for _ in range(_TRIES_BEYOND):
        law = try_fit(list(done.values()))
        peak = None if law is None else law.peak
        if peak is None or peak < max(done) or peak * _BEYOND > most * _FARTHEST:
            break
        take(peak * _BEYOND)
    return [done[load] for load in sorted(done)]


def knee(done: Sequence[Step]) -> float | None:
    """The greatest load that met the objectives, with none below it that did not."""
    best = None
    for step in sorted(done, key=lambda step: float(step["load"])):
        if not step["slo"]:
            break
        best = float(step["load"])
    return best


def doubts(done: Sequence[Step]) -> list[str]:
    """Why the knee cannot be believed: a step that counts for it was invalid.

    Those behind the first that broke an objective do not: they are meant to be too
    much, for the generator maybe, too.
    """
    reasons = []
    for step in sorted(done, key=lambda step: float(step["load"])):
        reasons += [f"at {step['load']:g}: {reason}" for reason in step["invalid"]]
        if not step["slo"]:
            break
    return reasons


def try_fit(done: Sequence[Step]) -> Fit | None:
    """The law, if there is enough to fit it to."""
    try:
        return fit([s["load"] for s in done], [s["throughput"] for s in done])
    except ValueError:
        return None


def sentence(done: Sequence[Step], law: Fit | None, unit: str, most: float) -> str:
    """What was found, in words, when loads up to ``most`` were asked for."""
    best = knee(done)
    text = "The objectives were not met at the lowest load."
    if best is not None:
        text = f"The objectives were met up to {best:,g} {unit}"
        most_measured = best == max(step["load"] for step in done)
        text += ", the most that was measured." if most_measured else "."
    if law is None:
        return f"{text} {_no_law(done, unit)}"
    text += (
        f" Universal scalability law: σ = {law.sigma:.3g} ± {law.sigma_band:.2g}, "
        f"κ = {law.kappa:.3g} ± {law.kappa_band:.2g} (95 %), R² = {law.r_squared:.4f}."
    )
    if law.peak is None:
        return f"{text} It predicts no peak."
    text += f" It predicts the peak at {law.peak:,.0f} {unit}"
    if max(step["load"] for step in done) > law.peak:
        return f"{text}; measured beyond it."
    if law.peak * _BEYOND > most * _FARTHEST:
        return f"{text}; not measured, as {most:,g} were asked for: ask for more."
    return f"{text}; not passed, as every step towards it moved it on."


def _no_law(done: Sequence[Step], unit: str) -> str:
    done = [step for step in done if not step["error"]]
    silent = [step["load"] for step in done if not step["throughput"]]
    if silent:
        loads = ", ".join(f"{load:,g}" for load in silent)
        return f"Nothing was delivered at {loads} {unit}, so no law fits."
    number = len({step["load"] for step in done})
    return f"The scalability law wants six loads to fit; there are {number}."
