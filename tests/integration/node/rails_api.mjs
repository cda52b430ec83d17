// The rest of @rails/actioncable's API: says what happens, does what it is told.
// node rails_api.mjs ws://HOST:PORT/cable
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

let visit = 0
const consumer = createConsumer(() => `${process.argv[2]}?visit=${++visit}`)
consumer.addSubProtocol("anycable-token.secret")
const subscription = consumer.subscriptions.create("ApiChannel", {
  connected: () => console.log("connected"),
  disconnected: ({ willAttemptReconnect }) => console.log(`disconnected ${willAttemptReconnect}`),
  received: (data) => console.log(`received ${JSON.stringify(data)}`),
})

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "send") console.log(`sent ${subscription.send({ text: "hello" })}`)
  if (line === "disconnect") consumer.disconnect()
  if (line === "connect") consumer.connect()
}
