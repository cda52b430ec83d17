"""``gateway serve --reload``: what is saved is served, and clients come back to it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway import Consumer
from tests.support import eventually
from tests.support.live import LiveServer

pytestmark = pytest.mark.process

APP = """
from gevent import monkey; monkey.patch_all()
from flask import Flask
from gateway import Channel, Gateway

app = Flask(__name__)
gateway = Gateway(app)

@gateway.channel
class VersionChannel(Channel):
    def subscribed(self):
        self.transmit("VERSION")
"""


def test_a_saved_file_is_served(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(APP.replace("VERSION", "first"))
    command = (sys.executable, "-m", "gateway", "serve", "shop:app")
    with (
        LiveServer(tmp_path, "--reload", command=command, cwd=tmp_path) as server,
        Consumer(f"ws://127.0.0.1:{server.port}/cable") as consumer,
    ):
        version = consumer.subscribe("VersionChannel")
        assert version.receive(10) == "first"
        file.write_text(APP.replace("VERSION", "second"))
        assert version.receive(30) == "second"
        (worker,) = eventually(lambda: server.workers)
        worker.kill()
        assert version.receive(30) == "second"
