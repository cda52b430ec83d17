"""The examples in the lab's docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import loadtest
from loadtest.scenarios import SCENARIOS

MODULES = [found.name for found in pkgutil.iter_modules(loadtest.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"loadtest.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_each_scenario_has_a_file_of_at_most_60_lines() -> None:
    (folder,) = loadtest.__path__
    for name in SCENARIOS:
        module = importlib.import_module(f"loadtest.{name}")
        assert module.lab.scenario is SCENARIOS[name]
        with open(f"{folder}/{name}.py") as file:
            assert len(file.readlines()) <= 60
