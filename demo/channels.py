"""What clients of the demo can subscribe to and do."""

from __future__ import annotations

from typing import Any

import msgspec

from demo.visitors import guest_name
from gateway import Channel, Connection, Gateway, action

__all__ = ["gateway"]

gateway = Gateway()


@gateway.connection
class DemoConnection(Connection):
    """Everybody may come; who has told no name gets one."""

    identified_by = ("current_user",)
    current_user: str

    def connect(self) -> None:
        self.current_user = self.session.get("name") or guest_name()


class Speech(msgspec.Struct):
    """What somebody says in a room."""

    message: str


@gateway.channel
class ChatChannel(Channel):
    """A chat room: ``room_id`` says which."""

    def subscribed(self) -> None:
        if "room_id" not in self.params:
            self.reject()
            return
        self.stream_from(self.room, whisper=True, presence=True)

    @action
    def speak(self, speech: Speech) -> None:
        """Say it to everybody in the room."""
        gateway.broadcast(
            self.room, {"message": speech.message, "user": self.current_user}
        )

    @property
    def room(self) -> str:
        """The room's stream."""
        return f"chat_{self.params['room_id']}"


@gateway.channel
class EchoChannel(Channel):
    """Sends back what it is sent: for measuring."""

    @action
    def echo(self, data: dict[str, Any]) -> None:
        """Transmit ``data`` to the client it came from."""
        del data["action"]
        self.transmit(data)


@gateway.channel
class DashboardChannel(Channel):
    """The gateway's own figures, four times a second: see :mod:`demo.sampler`.

    However many processes there are, a browser hears four messages a second, beginning
    with the value of now; one that lags gets the newest, not the backlog.
    """

    def subscribed(self) -> None:
        self.stream_from("dashboard", max_rate=4, conflate="merge", latest=True)

    @action
    def pause(self) -> None:
        """Send nothing for now: the tab is hidden."""
        self.pause_streams()

    @action
    def resume(self) -> None:
        """Go on: somebody looks again."""
        self.resume_streams()


@gateway.websocket("/echo")
def echo(ws: Any) -> None:
    """A bare WebSocket that sends back what it gets."""
    for message in ws:
        ws.send(message)
