// Node's ws: send() to each client, or back.
import { createServer } from "node:http"
import { WebSocketServer } from "ws"

const [port, mode] = process.argv.slice(2)
const http = createServer((request, response) => response.end("yes"))
const server = new WebSocketServer({ server: http, perMessageDeflate: false })

server.on("connection", (ws) => {
  ws.on("message", (message) => {
    if (mode === "echo") return ws.send(message, { binary: false })
    for (const each of server.clients) each.send(message, { binary: false })
  })
})
http.listen(Number(port), "0.0.0.0", 4096)
