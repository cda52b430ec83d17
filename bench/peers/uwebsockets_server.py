"""uWebSockets (C++) by way of socketify: its own publish and subscribe.

A third argument says how its loop runs. ``run`` is ``app.run()``, as people write it:
asyncio asks uWebSockets for news again and again, up to ten thousand times in vain
before it sleeps a millisecond, so that it uses its core between messages. ``block`` is
libuv's own loop, which sleeps until something comes.
"""

import sys

from socketify import App

port, mode, loop = int(sys.argv[1]), sys.argv[2], sys.argv[3]
app = App()


def opened(ws):
    ws.subscribe("all")


def fan_out(ws, message, opcode):
    ws.publish("all", message, opcode)


def echo(ws, message, opcode):
    ws.send(message, opcode)


app.get("/health/live", lambda response, request: response.end("yes"))
app.ws(
    "/*",
    {
        "compression": 0,
        "max_payload_length": 2**20,
        "idle_timeout": 960,
        "open": opened,
        "message": fan_out if mode == "fanout" else echo,
    },
)
app.listen({"port": port, "host": "0.0.0.0"})
if loop == "block":
    app.loop.started = True
    app.loop.uv_loop.run()
else:
    app.run()
