"""A chat with rooms on bare WebSockets, without Flask: ``python -m examples.bare``.

Talk to each other from two terminals: ``gateway connect ws://127.0.0.1:8080/lobby``.
"""

from collections import defaultdict

from gateway.websocket import Message, Multicast, WebSocket, WebSocketServer

rooms: dict[str, Multicast] = defaultdict(Multicast)


def enter(ws: WebSocket) -> None:
    rooms[ws.path].add(ws.outbox)


def say(ws: WebSocket, message: str | bytes) -> None:
    rooms[ws.path].send(Message(message))


def leave(ws: WebSocket) -> None:
    rooms[ws.path].discard(ws.outbox)
    if len(rooms[ws.path]) == 0:
        del rooms[ws.path]


def chat(address: tuple[str, int]) -> WebSocketServer:
    return WebSocketServer(address, on_open=enter, on_message=say, on_close=leave)


if __name__ == "__main__":
    with chat(("127.0.0.1", 8080)) as server:
        print(f"Chatting at {server.url}")
        server.serve_forever()
