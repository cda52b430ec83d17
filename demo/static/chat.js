// A chat room: every tab on it hears what any of them says.
import { createConsumer } from "@rails/actioncable"
import { append, messages, onSpeak, show } from "./conversation.js"

const room = createConsumer("/cable").subscriptions.create(
  { channel: "ChatChannel", room_id: messages.dataset.room },
  {
    connected: () => show(true),
    disconnected: () => show(false),
    received: append,
  },
)

onSpeak((speech) => room.perform("speak", speech))
