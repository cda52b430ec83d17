"""The dashboard's figures: they go on after the broker was away."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from time import process_time

import pytest
from flask import Flask

from demo.sampler import Sampler
from gateway import Gateway
from gateway.cable.history import Retentions
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.recording import RecordingPubSub
from gateway.server import CableServer
from tests.support import eventually


class ComesBack(RecordingPubSub):
    """A broker that is away, there once, away again, and there for good."""

    def __init__(self, retentions: Retentions) -> None:
        super().__init__(retentions)
        self.here = [False, False, False, True, False, False]

    def publish(self, stream: str, publication: Publication) -> None:
        if self.here and not self.here.pop(0):
            raise PubSubError("nobody is there")
        super().publish(stream, publication)


@pytest.fixture
def server() -> Iterator[CableServer]:
    """An app with a sampler, whose first request has come."""
    app = Flask("tests.app")
    app.secret_key = "not secret"
    app.config["GATEWAY_ADAPTER"] = f"{__name__}:ComesBack"
    gateway = Gateway(app)
    app.extensions["sampler"] = Sampler(app, gateway)
    app.test_client().get("/")
    running: CableServer = app.extensions["gateway"]
    yield running
    running.stop()


def samples(server: CableServer) -> list[dict[str, float]]:
    """What it has told of this process."""
    assert isinstance(server.pubsub, ComesBack)
    return [each[str(os.getpid())] for each in server.pubsub.broadcasts["dashboard"]]


def test_samples_come_again_after_an_outage(
    server: CableServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "demo")
    eventually(lambda: len(samples(server)) >= 3)
    assert samples(server)[0].keys() == {
        "time",
        "sockets",
        "messages",
        "cpu",
        "memory",
    }
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the dashboard stands still: nobody is there"] * 2


def test_all_the_cpu_time_is_in_the_samples(server: CableServer) -> None:
    eventually(lambda: len(samples(server)) == 2)
    before = samples(server)[-1]["time"]
    end = process_time() + 0.3
    while process_time() < end:
        pass
    eventually(lambda: len(samples(server)) >= 4)
    used = 0.0
    for sample in samples(server)[2:]:
        used += sample["cpu"] / 100 * (sample["time"] - before)
        before = sample["time"]
    assert used > 0.25


def test_a_server_that_has_stopped_is_not_used_again(server: CableServer) -> None:
    """It would begin anew."""
    eventually(lambda: len(samples(server)) >= 1)
    sampler: Sampler = server.app.extensions["sampler"]
    server.stop()
    assert sampler._greenlet is not None
    sampler._greenlet.get(timeout=5)
    assert server not in CableServer.running
    assert "pubsub" not in vars(server)
