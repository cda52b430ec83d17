// A chat with the unmodified @rails/actioncable: says what happens, does what it is told.
// node rails_client.mjs ws://HOST:PORT/cable ROOM
import { createInterface } from "node:readline"
import WebSocket from "ws"

globalThis.addEventListener = () => {}
globalThis.removeEventListener = () => {}
globalThis.document = {
  visibilityState: "visible",
  addEventListener() {},
  removeEventListener() {},
}

const { createConsumer, adapters } = await import("@rails/actioncable")
adapters.WebSocket = WebSocket

const [url, room] = process.argv.slice(2)
const consumer = createConsumer(url)
const enter = (room) =>
  consumer.subscriptions.create(
    { channel: "ChatChannel", room_id: room === "none" ? undefined : room },
    {
      connected: ({ reconnected }) => console.log(`connected ${reconnected}`),
      disconnected: ({ willAttemptReconnect }) => console.log(`disconnected ${willAttemptReconnect}`),
      rejected: () => console.log("rejected"),
      received: (data) => console.log(`received ${JSON.stringify(data)}`),
    },
  )
let chat = enter(room)

for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...rest] = line.split(" ")
  if (word === "speak") chat.perform("speak", { message: rest.join(" ") })
  if (word === "cut") consumer.connection.webSocket.terminate()
  if (word === "move") {
    chat.unsubscribe()
    chat = enter(rest[0])
  }
}
