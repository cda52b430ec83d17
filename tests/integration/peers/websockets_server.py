"""The ``websockets`` library's server: an echo that also does what it is told to."""

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


def converse(ws: ServerConnection) -> None:
    while True:
        message = ws.recv()
        if message == "fragments":
            ws.send(["in ", "three ", "pieces"])
        elif message == "ping me":
            ws.ping().wait()
            ws.send("ponged")
        elif isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ")
            ws.close(int(code), reason)
        else:
            ws.send(message)


def handle(ws: ServerConnection) -> None:
    try:
        converse(ws)
    except ConnectionClosed:
        print("closed", ws.close_code, ws.close_reason, flush=True)


with serve(handle, "127.0.0.1", 0, subprotocols=["chat"]) as server:  # type: ignore
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
