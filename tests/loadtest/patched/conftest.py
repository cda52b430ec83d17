"""Runs in this process: ``pytest -p tests.support.patched tests/loadtest/patched``

Locust needs gevent's patches. In a process without them there is nothing to collect
here; test_patched.py sees to it that these tests run.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from gevent import monkey

from tests.websocket.conftest import serve

if not monkey.is_module_patched("socket"):
    collect_ignore_glob = ["test_*.py"]
else:
    from locust.env import Environment
    from locust.event import Events

    from loadtest import phases
    from loadtest.lab import run
    from loadtest.options import add_options

__all__ = ["Bench", "Measure", "serve"]


class Bench:
    """Locust with one scenario's users, all in this process."""

    def __init__(self, users: list[type], url: str, sockets: int, **options: Any):
        words = [
            f"--{name.replace('_', '-')}={value}" for name, value in options.items()
        ]
        parser = ArgumentParser()
        add_options(parser)
        given = parser.parse_args(words)
        given.host, given.headless, given.processes = url, False, None
        given.spawn_rate = 100
        self.environment = Environment(
            user_classes=users, events=Events(), parsed_options=given, host=url
        )
        self.runner = self.environment.create_local_runner()
        self.sockets = sockets
        master = run(self.environment, self.runner)
        assert master is not None
        self.master = master
        self.lab: Any = users[0].lab  # type: ignore[attr-defined]

    def start(self) -> None:
        """Begin a run."""
        self.runner.start(self.sockets, 100)
        self.runner.spawning_greenlet.join()

    def finish(self) -> dict[str, Any]:
        """The end of the run: its result."""
        assert self.master.finished.wait(60)
        return self.master.result


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for long; but longer than a scenario is away."""
    monkeypatch.setattr(phases, "_ARRIVAL_PATIENCE_S", 2.0)
    monkeypatch.setattr(phases, "_DRAIN_PATIENCE_S", 2.0)


Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Get a scenario ready: its name, or its users; the server's URL; options."""
    made: list[Bench] = []

    def make(scenario: Any, url: str, sockets: int = 5, **options: Any) -> Bench:
        users = users_of(scenario) if isinstance(scenario, str) else [scenario]
        made.append(Bench(users, url, sockets, **options))
        return made[-1]

    yield make
    for each in made:
        each.runner.quit()


@pytest.fixture
def measure(bench: Callable[..., Bench]) -> Measure:
    """Run a scenario to its end; returns the result."""

    def start(*args: Any, **options: Any) -> dict[str, Any]:
        made = bench(*args, **options)
        made.start()
        return made.finish()

    return start


def users_of(scenario: str) -> list[type]:
    """The users in a scenario's file."""
    module = import_module(f"loadtest.{scenario}")
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
        if hasattr(value, "lab")
    ]
