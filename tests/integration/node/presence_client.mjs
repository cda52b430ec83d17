// Who is present, and whispers, with the unmodified @anycable/core.
// node presence_client.mjs ws://HOST:PORT/cable ROOM
import { createInterface } from "node:readline"
import WebSocket from "ws"
import { createCable } from "@anycable/core"

const [url, room] = process.argv.slice(2)
const cable = createCable(url, {
  protocol: "actioncable-v1-ext-json",
  websocketImplementation: WebSocket,
  logLevel: "error",
})
const chat = cable.subscribeTo("RoomChannel", { room_id: room })

const say = (word, data) => console.log(`${word} ${JSON.stringify(data)}`)

chat.on("connect", ({ reconnect }) => console.log(`connected ${reconnect}`))
chat.on("disconnect", () => console.log("disconnected"))
chat.on("close", (event) => console.log(`closed ${event?.reason}`))
chat.on("message", (data) => say("received", data))
chat.on("presence", ({ type, id }) => {
  if (id !== undefined) console.log(`${type} ${id}`)
})

for await (const line of createInterface({ input: process.stdin })) {
  const [word, text] = line.split(" ")
  if (word === "join") await chat.presence.join(text, { name: text })
  if (word === "leave") await chat.presence.leave()
  if (word === "info") say("present", await chat.presence.info())
  if (word === "whisper") await chat.whisper({ says: text })
  if (word === "cut") cable.transport.ws.terminate()
}
