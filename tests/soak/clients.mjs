// Unmodified @anycable/core clients, each with its tallies (tests/soak/tally.py).
// node clients.mjs ws://HOST:PORT/cable hasty|patient STREAM[,STREAM]...
import WebSocket from "ws"
import { createCable } from "@anycable/core"

const [url, pace, ...clients] = process.argv.slice(2)
const options = pace === "hasty" ? { reconnectStrategy: () => 100 + 500 * Math.random() } : {}

function newTally() {
  return {
    last: 0, received: 0, duplicated: 0, disordered: 0,
    refused: 0, told: 0, resumedAt: 0, missing: new Set(), forewarned: false,
  }
}

function got(tally, n) {
  tally.received += 1
  if (n <= tally.last) {
    if (tally.missing.delete(n)) tally.disordered += 1
    else tally.duplicated += 1
    return
  }
  if (tally.forewarned) {
    tally.told += n - tally.last - 1
    tally.resumedAt = n
  } else {
    for (let skipped = tally.last + 1; skipped < n; skipped++) tally.missing.add(skipped)
  }
  tally.forewarned = false
  tally.last = n
}

function follow(streams) {
  const client = { connected: false, begun: false, reconnects: 0, closed: 0, tallies: {} }
  for (const stream of streams.split(",")) client.tallies[stream] = newTally()
  const cable = createCable(url, {
    protocol: "actioncable-v1-ext-json",
    websocketImplementation: WebSocket,
    logLevel: "error",
    ...options,
  })
  const channel = cable.subscribeTo("SoakChannel", { streams })
  channel.on("connect", ({ reconnect }) => {
    client.connected = client.begun = true
    client.reconnects += reconnect
  })
  channel.on("disconnect", () => { client.connected = false })
  channel.on("close", (event) => {
    client.connected = false
    if (event) throw event
    // The client closes a channel, without a reason, whose connection breaks before its
    // subscription is confirmed. It still knows how far it came, so we just go on.
    client.closed += 1
    setTimeout(() => cable.subscribe(channel), 10)
  })
  channel.on("info", ({ type }) => {
    if (type !== "history_not_found") return
    for (const tally of Object.values(client.tallies)) {
      tally.refused += 1
      tally.forewarned = true
    }
  })
  channel.on("message", ({ s, n }) => got(client.tallies[s], n))
  return client
}

const following = clients.map(follow)
setInterval(() => {
  const tallies = following.flatMap((client) => Object.values(client.tallies))
  const rows = tallies.map((t) => [
    t.last, t.received, t.duplicated, t.disordered,
    t.refused, t.told, t.resumedAt, t.missing.size,
  ])
  const connected = following.filter((client) => client.connected).length
  const reconnects = following.reduce((sum, client) => sum + client.reconnects, 0)
  const begun = following.every((client) => client.begun)
  const closed = following.reduce((sum, client) => sum + client.closed, 0)
  console.log(JSON.stringify({ connected, begun, reconnects, closed, rows }))
}, 250)
process.stdin.on("end", () => process.exit(0)).resume()
