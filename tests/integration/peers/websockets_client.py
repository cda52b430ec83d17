"""The ``websockets`` library's client: talks to an echo, tells what it has seen."""

import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

seen: dict[str, object] = {}
url = sys.argv[1]

with connect(url, subprotocols=["none", "chat"]) as ws:  # type: ignore[list-item]
    seen["subprotocol"] = ws.subprotocol
    seen["deflate"] = bool(ws.protocol.extensions)
    for name, message in {
        "text": "né 💬",
        "binary": bytes(range(256)),
        "large": "large " * 50_000,
    }.items():
        ws.send(message)
        seen[name] = ws.recv() == message
    ws.send(["né", "", "e"])
    seen["fragments"] = ws.recv() == "née"
    ws.send([b"\0", b"\1"])
    seen["pieces"] = ws.recv() == b"\0\1"
    seen["pong"] = ws.ping().wait(10)
    ws.send("ping me")
    seen["pinged"] = ws.recv()
    ws.close(4001, "bye")
    seen["closing"] = [ws.close_code, ws.close_reason]

with connect(url) as ws:
    seen["no subprotocol"] = ws.subprotocol
    ws.send("close 4002 enough")
    try:
        ws.recv()
    except ConnectionClosed:
        seen["closed"] = [ws.close_code, ws.close_reason]

print(json.dumps(seen), flush=True)
