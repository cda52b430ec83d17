"""Flask-SocketIO on gevent: an event that is emitted to all, or back."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, emit  # noqa: E402

port, mode = int(sys.argv[1]), sys.argv[2]
app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", ping_interval=3600)


@socketio.on("speak")
def speak(message):
    emit("message", message, broadcast=mode == "fanout")


socketio.run(app, host="0.0.0.0", port=port)
