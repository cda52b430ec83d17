"""What pytest is given: an environment, a clean beginning, and ``live_gateway``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from flask import Flask

from gateway.pubsub.recording import RecordingPubSub
from gateway.server import CableServer
from gateway.testing.clients import LiveGateway
from gateway.testing.surroundings import of_this_test

__all__ = [
    "each_test_begins_with_nothing",
    "live_gateway",
    "pytest_load_initial_conftests",
]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """pytest's hook: the environment is ``test``, also for a conftest's own imports."""
    os.environ.setdefault("GATEWAY_ENV", "test")


@pytest.fixture(autouse=True)
def each_test_begins_with_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing broadcast, kept or present. What a test has made ends with it."""
    before = list(CableServer.running)
    for server in before:
        _begin_anew(server)
    of_this_test[:] = [request]
    yield
    of_this_test.clear()
    for server in set(CableServer.running).difference(before):
        server.stop()


def _begin_anew(server: CableServer) -> None:
    """An app that outlives a test; its sockets, if some are open, do so too."""
    parts = vars(server)
    if "endpoint" in parts and server.endpoint.sockets:
        if isinstance(parts.get("pubsub"), RecordingPubSub):
            parts["pubsub"].broadcasts.clear()
    else:
        server.stop()
        server.running.add(server)


@pytest.fixture
def live_gateway(app: Flask) -> Iterator[LiveGateway]:
    """Your fixture ``app``, served on a port of its own."""
    with LiveGateway(app) as live:
        yield live
