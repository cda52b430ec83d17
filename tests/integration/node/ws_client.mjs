// Node's `ws` as a client: talks to an echo, tells what it has seen.
import { once } from "node:events"
import WebSocket from "ws"

const url = process.argv[2]
const seen = {}

let ws = new WebSocket(url, ["none", "chat"], { perMessageDeflate: { threshold: 0 } })
await once(ws, "open")
seen.subprotocol = ws.protocol
seen.deflate = ws.extensions.includes("permessage-deflate")

const answer = async () => {
  const [data, isBinary] = await once(ws, "message")
  return isBinary ? data : data.toString()
}
for (const [name, text] of [["text", "né 💬"], ["large", "large ".repeat(50000)]]) {
  ws.send(text)
  seen[name] = (await answer()) === text
}
const bytes = Buffer.from([...Array(256).keys()])
ws.send(bytes)
seen.binary = bytes.equals(await answer())
ws.send("né", { fin: false })
ws.send("", { fin: false })
ws.send("e")
seen.fragments = (await answer()) === "née"
ws.send(Buffer.from([0]), { fin: false })
ws.send(Buffer.from([1]))
seen.pieces = Buffer.from([0, 1]).equals(await answer())
ws.ping("there?")
seen.pong = (await once(ws, "pong"))[0].toString() === "there?"
ws.send("ping me")
seen.pinged = await answer()
ws.close(4001, "bye")
let [code, reason] = await once(ws, "close")
seen.closing = [code, reason.toString()]

ws = new WebSocket(url)
await once(ws, "open")
seen["no subprotocol"] = ws.protocol || null
ws.send("close 4002 enough")
;[code, reason] = await once(ws, "close")
seen.closed = [code, reason.toString()]

console.log(JSON.stringify(seen))
