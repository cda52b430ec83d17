"""The ``websocket-client`` library: talks to an echo, tells what it has seen."""

import json
import sys

from websocket import ABNF, create_connection

TEXT, BINARY, CONT = ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY, ABNF.OPCODE_CONT

seen: dict[str, object] = {}
url = sys.argv[1]

ws = create_connection(url, subprotocols=["none", "chat"], timeout=20)
seen["subprotocol"] = ws.getsubprotocol()
seen["deflate"] = "sec-websocket-extensions" in ws.getheaders()
for name, message in {"text": "né 💬", "large": "large " * 50_000}.items():
    ws.send(message)
    seen[name] = ws.recv() == message
ws.send_binary(bytes(range(256)))
seen["binary"] = ws.recv() == bytes(range(256))
for name, opcode, pieces in (
    ("fragments", TEXT, ["né".encode(), b"", b"e"]),
    ("pieces", BINARY, [b"\0", b"\1"]),
):
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        ws.send_frame(ABNF.create_frame(piece, opcode if not number else CONT, last))
    data = ws.recv()
    data = data.encode() if isinstance(data, str) else data
    seen[name] = data == b"".join(pieces)
ws.ping("there?")
opcode, payload = ws.recv_data(control_frame=True)
seen["pong"] = (opcode, bytes(payload)) == (ABNF.OPCODE_PONG, b"there?")
ws.send("ping me")
seen["pinged"] = ws.recv()
ws.send_close(4001, b"bye")
opcode, payload = ws.recv_data(control_frame=True)
assert opcode == ABNF.OPCODE_CLOSE
seen["closing"] = [int.from_bytes(payload[:2]), payload[2:].decode()]
ws.shutdown()

ws = create_connection(url, timeout=20)
seen["no subprotocol"] = ws.getsubprotocol()
ws.send("close 4002 enough")
opcode, payload = ws.recv_data(control_frame=True)
assert opcode == ABNF.OPCODE_CLOSE
seen["closed"] = [int.from_bytes(payload[:2]), payload[2:].decode()]
ws.shutdown()

print(json.dumps(seen), flush=True)
