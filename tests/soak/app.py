"""What the checker's workers serve: one channel, a stream or two for each client."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

from flask import Flask  # noqa: E402  # sockets are to be patched first

from gateway import Channel, Gateway  # noqa: E402
from tests.soak import plan  # noqa: E402

app = Flask(__name__)
app.config["GATEWAY_HISTORY"] = plan.KEPT
app.config["GATEWAY_HISTORY_STREAMS"] = {plan.BRIEF: plan.KEPT_BRIEFLY}
gateway = Gateway(app)


@gateway.channel
class SoakChannel(Channel):
    """Streams what its parameter says, names joined by commas."""

    def subscribed(self) -> None:
        for stream in self.params["streams"].split(","):
            self.stream_from(stream)
