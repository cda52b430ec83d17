"""The chat of every tutorial: ``gateway serve examples.chat:app``."""

from gevent import monkey

monkey.patch_all()

from flask import Flask  # noqa: E402  # sockets are to be patched first

from gateway import Channel, Connection, Gateway, action  # noqa: E402

app = Flask(__name__)
gateway = Gateway(app)


@gateway.connection
class AppConnection(Connection):
    identified_by = ("user",)

    def connect(self):
        self.user = self.request.args.get("name") or self.reject()


@gateway.channel
class ChatChannel(Channel):
    def subscribed(self):
        self.stream_for(self.params["room_id"])

    @action
    def speak(self, data):
        message = {"message": data["message"], "user": self.user}
        self.broadcast_to(self.params["room_id"], message)
