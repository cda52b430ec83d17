// The same with the unmodified @anycable/core.
// node anycable_client.mjs ws://HOST:PORT/cable ROOM [PROTOCOL]
import { createInterface } from "node:readline"
import WebSocket from "ws"
import { createCable } from "@anycable/core"

const [url, room, protocol = "actioncable-v1-json"] = process.argv.slice(2)
const cable = createCable(url, {
  protocol,
  websocketImplementation: WebSocket,
  logLevel: "error",
})
const chat = cable.subscribeTo("ChatChannel", { room_id: room })

chat.on("connect", ({ reconnect }) => console.log(`connected ${reconnect}`))
chat.on("disconnect", () => console.log("disconnected"))
chat.on("close", (event) => console.log(`closed ${event?.reason}`))
chat.on("message", (data) => console.log(`received ${JSON.stringify(data)}`))

for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...rest] = line.split(" ")
  if (word === "speak") await chat.perform("speak", { message: rest.join(" ") })
  if (word === "cut") cable.transport.ws.terminate()
}
