"""The extended protocol on one connection: history, whispers, presence, restoring."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.cable.callbacks import rescue_from
from gateway.cable.channel import Channel, action
from gateway.cable.messages import read_command
from gateway.errors import CommandError, PubSubError
from gateway.reasons import NO_BROKER
from tests.cable.conftest import Client, Healing, identify

ID = identify("Chat")
EPOCH_OVER = {"epoch": "never", "offset": 0}


class Chat(Channel):
    def subscribed(self) -> None:
        self.stream_from("s", whisper=True, presence=True)

    @action
    def pause(self) -> None:
        self.pause_streams()

    @action
    def resume(self) -> None:
        self.resume_streams()

    @action
    def follow(self, data: dict[str, Any]) -> None:
        self.stream_from(data["stream"], **data.get("how", {}))

    @action
    def leave(self, data: dict[str, Any]) -> None:
        self.stop_stream_from(data["stream"])

    @action
    def leave_all(self) -> None:
        self.stop_all_streams()


class Quiet(Channel):
    def subscribed(self) -> None:
        self.stream_from("s")


class Slow(Channel):
    made: list[Slow] = []

    def subscribed(self) -> None:
        self.made.append(self)
        self.stream_from("s", whisper=True, presence=True)
        self.defer_confirmation()


class Inner(Channel):
    heard: list[Any]

    def subscribed(self) -> None:
        self.heard = []
        self.stream_from("s", self.heard.append)


class Forgiving(Quiet):
    def subscribed(self) -> None:
        raise PubSubError("of another broker")

    @rescue_from(PubSubError)
    def forgive(self, error: Exception) -> None:
        self.transmit("forgiven")


class Odd(Channel):
    def __init__(self, *args: Any) -> None:
        raise ValueError("on purpose")


CHANNELS = {c.__name__: c for c in (Chat, Quiet, Slow, Inner, Forgiving, Odd)}


@pytest.fixture(autouse=True)
def forget() -> None:
    Slow.made.clear()


def come(healing: Healing) -> Client:
    client = Client(healing.hub, CHANNELS)
    client.wire.extended = True
    return client


def position(healing: Healing) -> dict[str, Any]:
    return healing.broker._ring("s").position._asdict()


def kinds(frames: list[Any]) -> list[Any]:
    """Each frame's type; a message's content."""
    return [frame.get("type") or frame["message"] for frame in frames]


def ask(client: Client, *, since: Any = None, **streams: Any) -> list[Any]:
    """Ask for what was missed, as ``history`` alone."""
    history = {"since": since, "streams": streams}
    return client.say(command="history", identifier=ID, history=history)


def wait(healing: Healing, seconds: float) -> None:
    """Let time pass for the hub."""
    healing.clock.advance(seconds)
    healing.settle()


def subscribe(client: Client, channel: str = "Chat", **streams: Any) -> list[Any]:
    """Subscribe, and ask for what was missed in some streams."""
    return client.say(
        command="subscribe",
        identifier=identify(channel),
        history={"streams": streams},
    )


# History.


def test_what_was_missed_comes_between_confirmation_and_present(
    healing: Healing,
) -> None:
    come(healing).subscribe("Chat")
    healing.broker.say("s", 1)
    place = position(healing)
    healing.broker.say("s", 2, 3)
    client = come(healing)
    told = subscribe(client, s=place)
    assert kinds(told) == ["confirm_subscription", 2, 3, "confirm_history"]
    assert [frame.get("offset") for frame in told] == [None, 2, 3, None]
    healing.broker.say("s", 4)
    assert kinds(client.wire.take()) == [4]
    assert healing.hub.replayed == 2


@pytest.mark.parametrize(
    "place",
    [
        {"epoch": "another", "offset": 1},
        {"offset": 1},
        {"epoch": "", "offset": -1},
        {"epoch": "", "offset": "one"},
        {"epoch": "", "offset": 1.5},
        {"epoch": 7, "offset": 1},
        "s",
        None,
    ],
)
def test_a_place_that_makes_no_sense_is_rejected_whole(
    healing: Healing, place: Any
) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("s", 1)
    client.wire.take()
    assert kinds(ask(client, s=place)) == ["reject_history"]
    healing.broker.say("s", 2)
    assert kinds(client.wire.take()) == [2]
    assert healing.hub.refused == 1


@pytest.mark.parametrize("offset", [2, 10**6, 2**63, 2**200])
def test_offsets_beyond_the_end_are_rejected(healing: Healing, offset: int) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("s", 1)
    client.wire.take()
    place = {**position(healing), "offset": offset}
    assert kinds(ask(client, s=place)) == ["reject_history"]


@pytest.mark.parametrize("since", [-1, "yesterday", [], {}, True])
def test_a_time_that_makes_no_sense_is_rejected(healing: Healing, since: Any) -> None:
    client = come(healing)
    client.subscribe("Chat")
    assert kinds(ask(client, since=since)) == ["reject_history"]


@pytest.mark.parametrize(("since", "told"), [(0, [1]), (2**40, [])])
def test_a_time_long_ago_or_in_the_future(
    healing: Healing, since: float, told: list[int]
) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("s", 1)
    client.wire.take()
    assert kinds(ask(client, since=since)) == [*told, "confirm_history"]


@pytest.mark.parametrize("history", [1, "all", [], {"streams": []}])
def test_a_request_that_cannot_be_read_is_rejected(
    healing: Healing, history: Any
) -> None:
    client = come(healing)
    client.subscribe("Chat")
    answer = client.say(command="history", identifier=ID, history=history)
    assert kinds(answer) == ["reject_history"]


def test_who_wants_nothing_of_the_past_is_answered_nothing(healing: Healing) -> None:
    """A client that keeps no time asks without saying for what."""
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("s", 1)
    client.wire.take()
    assert client.say(command="history", identifier=ID) == []
    client = restored(healing)
    healing.broker.say("s", 2)
    assert kinds(client.say(command="history", identifier=ID)) == [2]
    assert healing.hub.refused == 0


def test_another_streams_place_is_rejected(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("other", 1)
    place = healing.broker._ring("other").position._asdict()
    assert kinds(ask(client, other=place)) == ["reject_history"]


def test_ten_thousand_streams_cost_one_answer(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    before = healing.broker.recalled
    streams = {f"s{n}": EPOCH_OVER for n in range(10_000)}
    assert kinds(ask(client, s=position(healing), **streams)) == ["reject_history"]
    assert healing.broker.recalled == before


def test_while_the_broker_is_away_the_answer_waits(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.say("s", 1)
    place = position(healing)
    client.wire.take()
    healing.broker.lose("s", 2)
    further = position(healing)
    healing.broker.away = True
    healing.clock.advance(1)
    assert ask(client, s=further) == []
    for _ in range(20):
        client.wire.ring()
    assert client.wire.take() == []
    assert len(client.wire.timers) == 1  # however often it was tried
    healing.broker.away = False
    wait(healing, 5)
    assert client.wire.take() == []  # it has that, from elsewhere
    client.wire.ring()
    assert kinds(client.wire.take()) == ["confirm_history"]
    assert client.wire.timers == []
    assert kinds(ask(client, s=place)) == [2, "confirm_history"]


def test_who_asks_again_is_answered_what_it_asked_last(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    place = position(healing)
    healing.broker.lose("s", 1)
    healing.broker.away = True
    healing.clock.advance(1)
    assert ask(client, s=position(healing)) == []
    (timer,) = client.wire.timers
    timer.job()  # its turn has not come when the client asks again
    healing.broker.away = False
    wait(healing, 5)
    assert kinds(ask(client, s=place)) == [1, "confirm_history"]
    client.wire.run_jobs()
    assert client.wire.take() == []


def test_who_leaves_is_not_answered(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.lose("s", 1)
    healing.broker.away = True
    healing.clock.advance(1)
    assert ask(client, s=position(healing)) == []
    (timer,) = client.wire.timers
    client.say(command="unsubscribe", identifier=ID)
    assert timer.cancelled


def test_a_past_that_cannot_be_read_at_all_is_refused(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    client = come(healing)
    client.subscribe("Chat")
    healing.broker.lose("s", 1)
    healing.broker.broken = {"s": ValueError("on purpose")}
    healing.clock.advance(1)
    assert kinds(ask(client, s=position(healing))) == ["reject_history"]
    assert "on purpose" in caplog.text


def test_the_past_is_for_those_who_are_let_in(healing: Healing) -> None:
    """A subscription whose confirmation is deferred may still be rejected."""
    client = come(healing)
    client.subscribe("Slow")
    healing.broker.say("s", '"secret"')
    identifier = identify("Slow")
    for command in (
        {"command": "history", "history": {"since": 0}},
        {"command": "whisper", "data": "let me in"},
        {"command": "join", "presence": {"id": "me"}},
        {"command": "leave"},
        {"command": "presence"},
    ):
        with pytest.raises(CommandError, match="not confirmed yet"):
            client.say(identifier=identifier, **command)
    healing.broker.say("s", '"secret"')
    assert client.wire.take() == []
    assert healing.broker.present("s") == {}


# Without a broker.


def test_who_cannot_be_subscribed_without_a_broker_is_to_come_back(
    healing: Healing,
) -> None:
    """A rejection would be for ever."""
    client = come(healing)
    healing.broker.away = True
    assert client.subscribe("Chat") == []
    assert client.wire.closed is NO_BROKER
    assert NO_BROKER.reconnect
    assert healing.hub.streams == {}


def test_a_channel_can_make_something_else_of_it(healing: Healing) -> None:
    client = come(healing)
    frames = client.subscribe("Forgiving")
    assert kinds(frames) == ["forgiven", "reject_subscription"]
    assert client.wire.closed is None


# Restoring.


def restored(healing: Healing, channel: str = "Chat") -> Client:
    """A client whose subscription is there again, and waits for it."""
    client = come(healing)
    identifier = identify(channel)
    assert client.subscriptions.restore({identifier: ["s"]}) == [identifier]
    assert client.wire.timers == []  # it may take a while before it is told
    client.subscriptions.expect()
    return client


def test_a_restored_subscription_waits_for_its_client(healing: Healing) -> None:
    client = restored(healing)
    place = position(healing)
    healing.broker.say("s", 1)
    assert client.wire.take() == []
    assert kinds(ask(client, s=place)) == [1, "confirm_history"]
    healing.broker.say("s", 2)
    assert kinds(client.wire.take()) == [2]


def test_a_refusal_leaves_out_nothing_that_came_since(healing: Healing) -> None:
    client = restored(healing)
    healing.broker.say("s", 1)
    assert kinds(ask(client, s=EPOCH_OVER)) == ["reject_history", 1]


def test_but_not_for_ever(healing: Healing) -> None:
    """Then it hears what came, knows of a gap, and is not told the past behind it."""
    client = restored(healing)
    place = position(healing)
    healing.broker.say("s", 1)
    client.wire.ring()
    assert kinds(client.wire.take()) == ["reject_history", 1]
    healing.broker.say("s", 2)
    assert kinds(client.wire.take()) == [2]
    assert ask(client, s=place) == []
    assert kinds(ask(client, s=position(healing))) == ["confirm_history"]


def test_the_end_of_the_wait_does_not_concern_who_has_asked(healing: Healing) -> None:
    client = restored(healing, "Inner")
    (timer,) = client.wire.timers
    client.say(command="history", identifier=identify("Inner"), history={"since": 0})
    assert timer.cancelled
    healing.broker.say("s", 1)
    client.wire.run_jobs()
    (subscription,) = client.subscriptions._by_identifier.values()
    assert isinstance(subscription.channel, Inner)
    assert subscription.channel.heard == [1]  # once
    assert healing.hub.refused == 0


def test_nor_who_asks_before_the_end_has_its_turn(healing: Healing) -> None:
    client = restored(healing)
    (timer,) = client.wire.timers
    timer.job()
    assert kinds(ask(client, since=0)) == ["confirm_history"]
    client.wire.run_jobs()
    assert client.wire.take() == []
    (subscription,) = client.subscriptions._by_identifier.values()
    assert subscription.recovery is None  # nothing of it is kept


def test_nor_who_waits_for_its_answer(healing: Healing) -> None:
    client = restored(healing)
    (timer,) = client.wire.timers
    healing.broker.lose("s", 1)

    def is_cancelled() -> None:
        assert timer.cancelled

    healing.broker.while_asked = [is_cancelled]
    healing.clock.advance(1)
    assert kinds(ask(client, s=position(healing))) == ["confirm_history"]
    assert healing.broker.while_asked == []


def test_nor_who_has_asked_and_pauses(healing: Healing) -> None:
    client = restored(healing)
    assert kinds(ask(client, since=0)) == ["confirm_history"]
    client.perform(ID, action="pause")
    client.wire.ring()
    healing.broker.say("s", 1)
    assert client.wire.take() == []


def test_the_past_does_not_end_a_pause(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    place = position(healing)
    client.perform(ID, action="pause")
    healing.broker.say("s", 1)
    assert kinds(ask(client, s=place)) == [1, "confirm_history"]
    healing.broker.say("s", 2)
    assert client.wire.take() == []
    client.perform(ID, action="resume")
    healing.broker.say("s", 3)
    assert kinds(client.wire.take()) == [3]


def test_a_pause_that_ends_while_the_past_is_awaited(healing: Healing) -> None:
    """What is new comes behind the past all the same, and the pause was one."""
    client = come(healing)
    client.subscribe("Chat")
    place = position(healing)
    healing.broker.lose("s", 1)
    healing.broker.away = True
    healing.clock.advance(1)
    assert ask(client, s=position(healing)) == []
    healing.broker.away = False
    wait(healing, 5)
    client.perform(ID, action="resume")  # without a pause
    client.perform(ID, action="pause")
    healing.broker.say("s", 2)
    client.perform(ID, action="resume")
    healing.broker.say("s", 3)
    assert client.wire.take() == []
    client.wire.ring()
    assert kinds(client.wire.take()) == [2, 3, "confirm_history"]
    assert kinds(ask(client, s=place)) == [1, 2, 3, "confirm_history"]
    healing.broker.say("s", 4)
    assert kinds(client.wire.take()) == [4]


def test_who_was_not_waited_for_any_longer_may_pause(healing: Healing) -> None:
    client = restored(healing)
    client.wire.ring()
    client.perform(ID, action="pause")
    client.perform(ID, action="resume")
    client.wire.take()
    healing.broker.say("s", 1)
    assert kinds(client.wire.take()) == [1]


def test_what_cannot_be_restored_is_left_out(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    client = come(healing)
    gone = [identify("Gone"), "no JSON", identify("Forgiving"), identify("Odd")]
    saved = {identifier: ["s"] for identifier in (*gone, ID)}
    assert client.subscriptions.restore(saved) == [ID]
    assert "reject_subscription" not in kinds(client.wire.take())
    assert client.subscriptions.identifiers == [ID]


def test_who_streamed_more_than_it_would_now_is_to_subscribe_anew(
    healing: Healing,
) -> None:
    """It would not hear the stream that it had asked for later, and not know."""
    before = come(healing)
    before.subscribe("Chat")
    before.perform(ID, action="follow", stream="extra")
    assert before.subscriptions.streams == {ID: ["s", "extra"]}
    client = come(healing)
    assert client.subscriptions.restore(before.subscriptions.streams) == []
    before.subscriptions.close()
    assert healing.hub.streams == {}
    assert len(client.subscriptions) == 0


def test_who_is_not_confirmed_at_once_is_to_subscribe_anew(healing: Healing) -> None:
    client = come(healing)
    assert client.subscriptions.restore({identify("Slow"): ["s"]}) == []
    assert healing.hub.streams == {}
    assert healing.hub.tracker.sessions == {}
    (channel,) = Slow.made
    channel.confirm()  # nobody waits for it any longer
    channel.reject()
    assert client.wire.take() == []


# Whispers.


def test_a_whisper_reaches_the_others_and_is_not_kept(healing: Healing) -> None:
    clients = [come(healing) for _ in range(3)]
    for client in clients:
        client.subscribe("Chat")
    says = {"command": "whisper", "identifier": ID, "data": {"typing": True}}
    assert clients[0].say(**says) == []
    for client in clients[1:]:
        assert client.wire.take() == [{"identifier": ID, "message": {"typing": True}}]
    assert kinds(ask(clients[1], since=0)) == ["confirm_history"]


def test_whispers_where_there_are_none(healing: Healing) -> None:
    client, other = come(healing), come(healing)
    client.subscribe("Quiet")
    other.subscribe("Quiet")
    with pytest.raises(CommandError, match="no whispers"):
        client.say(command="whisper", identifier=identify("Quiet"), data=1)
    with pytest.raises(CommandError, match="not subscribed"):
        client.say(command="whisper", identifier=ID, data=1)
    assert other.wire.take() == []


def test_a_whisper_without_a_broker_is_lost_and_no_more(
    healing: Healing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PubSubError("away")

    client = come(healing)
    client.subscribe("Chat")
    monkeypatch.setattr(healing.broker, "publish", fail)
    with pytest.raises(CommandError, match="whisper cannot be done: away"):
        client.say(command="whisper", identifier=ID, data=1)


@pytest.mark.parametrize("how", ["leave", "leave_all", "follow"])
def test_who_does_not_stream_any_longer_may_not_speak(
    healing: Healing, how: str
) -> None:
    """Nor who streams it anew, without that."""
    client, other = come(healing), come(healing)
    for each in (client, other):
        each.subscribe("Chat")
    join(client, "ann")
    for each in (client, other):
        assert kinds(each.wire.take()) in ([], ["presence"])
    client.perform(ID, action="leave", stream="another")  # which changes nothing
    client.say(command="whisper", identifier=ID, data="still")
    assert kinds(other.wire.take()) == ["still"]
    client.perform(ID, action=how, stream="s")
    assert other.wire.take()[0]["message"] == {"type": "leave", "id": "ann"}
    for command in ("whisper", "join", "presence"):
        with pytest.raises(CommandError, match="has no"):
            client.say(command=command, identifier=ID, presence={"id": "a"})
    assert healing.broker.present("s") == {}
    assert other.wire.take() == []
    how_again = {"whisper": True, "presence": True}
    client.perform(ID, action="follow", stream="s", how=how_again)
    join(client, "bob")
    assert healing.broker.present("s") == {"bob": None}


def test_who_stops_is_not_told_who_comes(healing: Healing) -> None:
    client, other = come(healing), come(healing)
    for each in (client, other):
        each.subscribe("Chat")
    client.perform(ID, action="follow", stream="s")  # without presence
    join(other, "ann")
    assert client.wire.take() == []


# Presence.


def join(client: Client, member: Any, info: Any = None) -> list[Any]:
    about = {"id": member, "info": info}
    return client.say(command="join", identifier=ID, presence=about)


def test_who_comes_and_goes_is_told_to_all(healing: Healing) -> None:
    ann, bob = come(healing), come(healing)
    for client in (ann, bob):
        client.subscribe("Chat")
    came = {"type": "join", "id": "ann", "info": {"n": 1}}
    assert [frame["message"] for frame in join(ann, "ann", {"n": 1})] == [came]
    assert [frame["message"] for frame in bob.wire.take()] == [came]
    assert join(bob, "ann", {"n": 2}) == []  # another tab
    info = bob.say(command="presence", identifier=ID)[0]["message"]
    records = [{"id": "ann", "info": {"n": 2}}]
    assert info == {"type": "info", "total": 1, "records": records}
    short = {"return_records": False}
    info = bob.say(command="presence", identifier=ID, data=short)[0]["message"]
    assert info == {"type": "info", "total": 1}
    assert ann.say(command="leave", identifier=ID) == []
    bob.say(command="unsubscribe", identifier=ID)
    assert ann.wire.take()[0]["message"] == {"type": "leave", "id": "ann"}
    assert ann.say(command="leave", identifier=ID) == []


def test_presence_comes_with_the_subscription(healing: Healing) -> None:
    client = come(healing)
    about = {"id": "ann", "info": None}
    told = client.say(command="subscribe", identifier=ID, presence=about)
    assert kinds(told) == ["confirm_subscription", "presence"]
    assert healing.broker.present("s") == {"ann": None}


def test_who_is_lost_lingers(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Chat")
    join(client, "ann")
    assert healing.hub.tracker.sessions == {"s": [f"{client.wire.id}.1"]}
    client.subscriptions.close(lingering=True)
    assert healing.hub.tracker.sessions == {}
    assert healing.broker.present("s") == {"ann": None}


@pytest.mark.parametrize("member", ["x" * 65_536, "", 42, None, ["a"], {"id": "a"}])
def test_ids_that_are_none(healing: Healing, member: Any) -> None:
    client = come(healing)
    client.subscribe("Chat")
    with pytest.raises(CommandError, match="presence cannot be read"):
        join(client, member)
    assert healing.broker.present("s") == {}


def test_presence_where_there_is_none(healing: Healing) -> None:
    client = come(healing)
    client.subscribe("Quiet")
    for command in ("join", "leave", "presence"):
        with pytest.raises(CommandError, match="no presence"):
            client.say(
                command=command, identifier=identify("Quiet"), presence={"id": "a"}
            )


# Pings.


def test_pings_and_pongs(client: Client) -> None:
    client.wire.extended = True
    assert client.say(command="ping") == [{"type": "pong"}]
    assert client.say(command="pong") == []


def test_the_plain_protocol_has_none_of_this(client: Client) -> None:
    for name in ("history", "whisper", "join", "leave", "presence", "ping", "pong"):
        text = msgspec.json.encode({"command": name, "identifier": ID}).decode()
        with pytest.raises(CommandError, match="unknown command"):
            client.subscriptions.execute(read_command(text))
