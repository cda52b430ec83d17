"""python-websockets on asyncio, with its own ``broadcast``."""

import asyncio
import sys
from http import HTTPStatus

from websockets.asyncio.server import broadcast, serve

port, mode = int(sys.argv[1]), sys.argv[2]


def answer(connection, request):
    if request.path == "/health/live":
        return connection.respond(HTTPStatus.OK, "yes\n")
    return None


async def main():
    async def handler(ws):
        async for message in ws:
            if mode == "fanout":
                broadcast(server.connections, message)
            else:
                await ws.send(message)

    async with serve(
        handler,
        "0.0.0.0",
        port,
        compression=None,
        ping_interval=None,
        process_request=answer,
        backlog=4096,
    ) as server:
        await server.serve_forever()


asyncio.run(main())
