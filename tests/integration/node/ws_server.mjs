// Node's `ws` as a server: an echo that also does what it is told to.
import { WebSocketServer } from "ws"

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("chat") ? "chat" : false),
})
server.on("listening", () => console.log(server.address().port))
server.on("connection", (ws) => {
  ws.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString()
    if (text === "fragments") {
      ws.send("in ", { fin: false })
      ws.send("three ", { fin: false })
      ws.send("pieces")
    } else if (text === "ping me") {
      ws.once("pong", () => ws.send("ponged"))
      ws.ping("there?")
    } else if (text.startsWith("close ")) {
      const [, code, reason] = text.split(" ")
      ws.close(Number(code), reason)
    } else {
      ws.send(data, { binary: isBinary })
    }
  })
  ws.on("close", (code, reason) => console.log(`closed ${code} ${reason}`))
})
