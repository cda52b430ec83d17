"""picows (Cython) on asyncio: one ``send`` per socket and message."""

import asyncio
import sys

from picows import WSListener, WSMsgType, ws_create_server

port, mode = int(sys.argv[1]), sys.argv[2]
everybody = set()


class Listener(WSListener):
    def on_ws_connected(self, transport):
        everybody.add(transport)

    def on_ws_disconnected(self, transport):
        everybody.discard(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = frame.get_payload_as_bytes()
        for each in everybody if mode == "fanout" else (transport,):
            each.send(WSMsgType.TEXT, message)


async def main():
    server = await ws_create_server(
        lambda request: Listener(), "0.0.0.0", port, backlog=4096
    )
    await server.serve_forever()


asyncio.run(main())
