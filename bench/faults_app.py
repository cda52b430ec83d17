"""The application whose surroundings fail; and a name whose address can change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent.monkey

gevent.monkey.patch_all()

import socket  # noqa: E402  # patched

from flask import Flask  # noqa: E402

from gateway import Channel, Gateway  # noqa: E402

__all__ = ["app"]

_getaddrinfo = socket.getaddrinfo


def _look_up(host: Any, *arguments: Any, **options: Any) -> Any:
    """A stand-in for the DNS: one name's address is in the file ``FAULT_ADDRESS``."""
    if host == os.environ["FAULT_NAME"]:
        host = Path(os.environ["FAULT_ADDRESS"]).read_text()
    return _getaddrinfo(host, *arguments, **options)


socket.getaddrinfo = _look_up

app = Flask(__name__)
gateway = Gateway(app)


@gateway.channel
class NewsChannel(Channel):
    """Everybody hears the same."""

    def subscribed(self) -> None:
        self.stream_from("news")
