"""The gateway beside an app on another server (``examples/legacy.py``).

    SECRET_KEY=... REDIS_URL=redis://... gateway serve examples.legacy_gateway:app

It knows who a browser is by the other app's session cookie, for both have the same
``SECRET_KEY``; a proxy puts both under one host and sends ``/cable`` here.
"""

from __future__ import annotations

import os

from gevent import monkey

monkey.patch_all()

from flask import Flask  # noqa: E402  # sockets are to be patched first

from gateway import Channel, Connection, Gateway  # noqa: E402

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
app.config.update(GATEWAY_ADAPTER="redis", GATEWAY_URL=os.environ["REDIS_URL"])
gateway = Gateway(app)


@gateway.connection
class AppConnection(Connection):
    """Who has logged in at the other app may come."""

    identified_by = ("current_user",)
    current_user: str

    def connect(self) -> None:
        self.current_user = self.session.get("name") or self.reject()


@gateway.channel
class PricesChannel(Channel):
    """The prices that the other app broadcasts."""

    def subscribed(self) -> None:
        self.stream_from("prices")
