"""gevent-websocket's own frames, handler and server: an echo. Arguments: a port."""

import sys

from gevent import monkey

monkey.patch_all()

from gevent.pywsgi import WSGIServer  # noqa: E402  # after the patching
from geventwebsocket.handler import WebSocketHandler  # noqa: E402


def app(environ, start_response):
    ws = environ.get("wsgi.websocket")
    if ws is None:
        start_response("200 OK", [])
        return [b"an echo\n"]
    while (message := ws.receive()) is not None:
        ws.send(message)
    return []


WSGIServer(
    ("127.0.0.1", int(sys.argv[1])), app, handler_class=WebSocketHandler, log=None
).serve_forever()
