// The same room with AnyCable's client: also who is there, who is typing, and what was
// said before we came or while we were away.
import { createCable } from "@anycable/web"
import { append, form, messages, onSpeak, show } from "./conversation.js"

const { room, name } = messages.dataset
const people = document.getElementById("people")
const typing = document.getElementById("typing")

const cable = createCable({
  protocol: "actioncable-v1-ext-json",
  historyTimestamp: Math.floor(Date.now() / 1000) - 300,
})
const chat = cable.subscribeTo("ChatChannel", { room_id: room })

chat.on("connect", () => {
  show(true)
  showPeople()
})
cable.on("disconnect", () => {
  show(false)
  chat.presence.reset() // who comes and goes meanwhile, we do not hear
})
chat.on("presence", showPeople)
chat.on("message", (said) => {
  if ("typing" in said) return showTyping(said.typing)
  append(said)
  showTyping("")
})
chat.presence.join(name)

async function showPeople() {
  const present = await chat.presence.info().catch(() => null)
  if (present === null) return // we were cut off; we ask again when we are back
  people.replaceChildren(
    ...Object.keys(present).sort().map((each) => {
      const item = document.createElement("li")
      item.textContent = each
      return item
    }),
  )
}

let quiet
function showTyping(who) {
  clearTimeout(quiet)
  typing.textContent = who ? `${who} is typing …` : ""
  if (who) quiet = setTimeout(showTyping, 3000, "")
}

let lastWhisper = 0
form.addEventListener("input", () => {
  if (Date.now() - lastWhisper < 1000) return
  lastWhisper = Date.now()
  chat.whisper({ typing: name })
})

onSpeak((speech) => {
  lastWhisper = 0 // what is typed next is another message
  chat.perform("speak", speech)
})
