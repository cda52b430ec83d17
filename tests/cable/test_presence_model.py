"""Who is present, and who a follower thinks is, whatever happens to the broker."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from gateway.cable.channel import Channel
from tests.cable.conftest import Client, Healing, identify

ROOM = identify("Room")


class Room(Channel):
    def subscribed(self) -> None:
        self.stream_from("s", presence=True)


class Attendances(RuleBasedStateMachine):
    """Clients of this process, sessions of others, and one who watches.

    The broker goes away, forgets, and loses what it should deliver; afterwards
    everybody agrees on who is there.
    """

    members = st.sampled_from(["ann", "bob", "cay"])
    who = st.integers(0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.healing = Healing()
        self.broker, self.hub = self.healing.broker, self.healing.hub
        self.clients = [self.come() for _ in range(3)]
        self.here: dict[int, str] = {}  # the member that each client is
        self.elsewhere: dict[str, str] = {}  # member by session, and who lingers
        self.told: set[str] = set()
        self.watcher = self.come()
        self.rounds()

    def come(self) -> Client:
        client = Client(self.hub, {"Room": Room})
        client.wire.extended = True
        client.subscribe("Room")
        return client

    @rule(who=who, member=members)
    def enter(self, who: int, member: str) -> None:
        about = {"id": member}
        self.clients[who].say(command="join", identifier=ROOM, presence=about)
        self.here[who] = member

    @precondition(lambda self: not self.broker.away)
    @rule(who=who)
    def leave(self, who: int) -> None:
        self.clients[who].say(command="leave", identifier=ROOM)
        self.here.pop(who, None)

    @precondition(lambda self: not self.broker.away)
    @rule(who=who)
    def cut(self, who: int) -> None:
        """Its session lingers, if the broker knows it."""
        sessions = self.hub.tracker.sessions["s"]
        self.clients[who].subscriptions.close(lingering=True)
        lost = set(sessions) - set(self.hub.tracker.sessions["s"])
        member = self.here.pop(who, "")
        unknown = self.broker.touch({"s": list(lost)})
        for session in lost - set(unknown.get("s", ())):
            self.elsewhere[session] = member
        self.clients[who] = self.come()

    @precondition(lambda self: not self.broker.away)
    @rule(member=members)
    def enter_elsewhere(self, member: str) -> None:
        self.broker.join("s", member, f"of {member}", None)
        self.elsewhere[f"of {member}"] = member

    @precondition(lambda self: not self.broker.away)
    @rule(member=members)
    def leave_elsewhere(self, member: str) -> None:
        self.broker.leave("s", f"of {member}")
        self.elsewhere.pop(f"of {member}", None)

    @rule()
    def lose_what_comes(self) -> None:
        self.broker.deaf = True

    @rule()
    def go_away(self) -> None:
        self.broker.away = self.broker.deaf = True

    @rule()
    def forget(self) -> None:
        self.broker._present.clear()
        self.elsewhere.clear()
        self.broker.deaf = True  # its connections broke

    @rule()
    def resume(self) -> None:
        self.broker.away = False
        if self.broker.deaf:
            self.broker.deaf = False
            self.hub.resume(["s"])

    @rule()
    def round(self) -> None:
        self.hub.tracker.touch()
        self.listen()

    def rounds(self) -> None:
        for _ in range(3):
            self.round()

    def listen(self) -> None:
        for frame in self.watcher.wire.take():
            if frame["type"] == "presence":
                event = frame["message"]
                is_known = event["id"] in self.told
                assert is_known == (event["type"] == "leave"), "told twice"
                self.told ^= {event["id"]}

    @rule()
    def settle(self) -> None:
        """All is well again, for a while."""
        self.resume()
        self.rounds()
        present = {*self.here.values(), *self.elsewhere.values()}
        assert set(self.broker.present("s")) == present
        assert self.told == present

    def teardown(self) -> None:
        self.settle()


TestAttendances = Attendances.TestCase
TestAttendances.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, database=None
)
