// What the two kinds of chat have in common: the page around the cable.

export const messages = document.getElementById("messages")
export const form = document.getElementById("speak")

const state = document.getElementById("state")

export function show(connected) {
  state.textContent = connected ? "connected" : "reconnecting"
  state.classList.toggle("connected", connected)
  form.querySelector("button").disabled = !connected
}

export function append({ message, user }) {
  const item = document.createElement("li")
  const name = document.createElement("b")
  name.textContent = user
  item.classList.toggle("mine", user === messages.dataset.name)
  item.append(name, " ", String(message))
  messages.append(item)
  item.scrollIntoView({ block: "nearest" })
}

export function onSpeak(speak) {
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    speak({ message: form.elements.message.value })
    form.reset()
  })
}
