"""The life of a subscription: hooks, deferral, timers, exceptions, callbacks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from gateway.cable.callbacks import (
    after_subscribe,
    after_unsubscribe,
    before_subscribe,
    before_unsubscribe,
    periodically,
    rescue_from,
)
from gateway.cable.channel import Channel, action
from gateway.cable.connection import Connection
from gateway.cable.hub import Hub
from gateway.cable.subscription import Subscription
from gateway.errors import CommandError, LocalError
from tests.cable.conftest import (
    Client,
    Clock,
    Healing,
    MakeClient,
    identify,
    say,
)

Registry = dict[str, type[Channel]]

ID = identify("TheChannel")
CONFIRMED = {"identifier": ID, "type": "confirm_subscription"}
REJECTED = {"identifier": ID, "type": "reject_subscription"}


@pytest.fixture
def subscribe(client: Client, registry: Registry) -> Callable[..., list[Any]]:
    """Register a channel class and subscribe to it; returns what is answered."""

    def do(cls: type[Channel], **params: Any) -> list[Any]:
        registry["TheChannel"] = cls
        return client.subscribe("TheChannel", **params)

    return do


Subscribe = Callable[..., list[Any]]


def test_hooks_in_order(client: Client, subscribe: Subscribe) -> None:
    calls: list[str] = []

    class Hooked(Channel):
        @before_subscribe
        def one(self) -> None:
            calls.append("before")

        def subscribed(self) -> None:
            calls.append("subscribed")

        @after_subscribe
        def two(self) -> None:
            calls.append("after")

        @before_unsubscribe
        def three(self) -> None:
            calls.append("before un")

        def unsubscribed(self) -> None:
            calls.append("unsubscribed")

        @after_unsubscribe
        def four(self) -> None:
            calls.append("after un")

    assert subscribe(Hooked) == [CONFIRMED]
    client.say(command="unsubscribe", identifier=ID)
    assert calls == [
        *("before", "subscribed", "after"),
        *("before un", "unsubscribed", "after un"),
    ]
    assert client.wire.announced == ["subscribed"]


def test_rejecting_before_subscribed(client: Client, subscribe: Subscribe) -> None:
    calls: list[str] = []

    class Picky(Channel):
        @before_subscribe
        def refuse(self) -> None:
            calls.append("before")
            self.reject()

        def subscribed(self) -> None:
            calls.append("subscribed")

        @after_subscribe
        def after(self) -> None:
            calls.append("after")

        def unsubscribed(self) -> None:
            calls.append("unsubscribed")

    assert subscribe(Picky) == [REJECTED]
    assert calls == ["before", "after"]
    assert client.wire.announced == ["subscription_rejected"]
    assert len(client.subscriptions) == 0


def test_subscribed_may_go_on_after_its_rejection(
    client: Client, subscribe: Subscribe, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(Channel):
        def subscribed(self) -> None:
            self.reject()
            self.stream_from("s")

    assert subscribe(Picky) == [REJECTED]
    assert not hub.streams
    assert not caplog.records


def test_a_deferred_confirmation(
    client: Client, subscribe: Subscribe, hub: Hub
) -> None:
    class Deferred(Channel):
        made: list[Deferred] = []

        def subscribed(self) -> None:
            self.made.append(self)
            self.stream_from("s")
            self.defer_confirmation()

    assert subscribe(Deferred) == []
    say(hub, "s", b"1")
    assert client.subscribe("TheChannel") == []  # a repeat while it is pending
    (channel,) = Deferred.made
    channel.confirm()
    channel.confirm()
    say(hub, "s", b"2")
    assert client.wire.take() == [CONFIRMED, {"identifier": ID, "message": 2}]
    with pytest.raises(LocalError, match="is confirmed already"):
        channel.reject()


def test_a_deferred_rejection(client: Client, subscribe: Subscribe, hub: Hub) -> None:
    class Deferred(Channel):
        made: list[Deferred] = []

        def subscribed(self) -> None:
            self.made.append(self)
            self.stream_from("s")
            self.defer_confirmation()

    subscribe(Deferred)
    Deferred.made[0].reject()
    assert client.wire.take() == [REJECTED]
    assert hub.streams == {}
    assert client.subscriptions.identifiers == []
    Deferred.made[0].reject()
    assert client.wire.take() == []
    with pytest.raises(CommandError, match="not subscribed"):
        client.perform(ID, action="x")
    Deferred.made[0].stream_from("s")  # goes nowhere
    assert hub.streams == {}
    assert subscribe(Deferred) == []  # it may be asked for again
    client.subscriptions.close()


def test_a_rejection_that_was_deferred_before(
    client: Client, subscribe: Subscribe
) -> None:
    calls: list[str] = []

    class Undecided(Channel):
        def subscribed(self) -> None:
            self.defer_confirmation()
            self.reject()

        def unsubscribed(self) -> None:
            calls.append("unsubscribed")

    assert subscribe(Undecided) == [REJECTED]
    assert calls == ["unsubscribed"]
    assert client.wire.announced == ["subscription_rejected"]


def test_a_stream_that_is_started_while_the_client_leaves(healing: Healing) -> None:
    """By a greenlet of the channel's own, which waits for the broker."""
    made: list[Channel] = []

    class Loading(Channel):
        def subscribed(self) -> None:
            made.append(self)
            self.defer_confirmation()

    client = Client(healing.hub, {"TheChannel": Loading})
    client.wire.extended = True
    client.subscribe("TheChannel")
    (channel,) = made
    healing.broker.while_asked = [client.subscriptions.close]
    channel.stream_from("s", whisper=True, presence=True)
    channel.confirm()
    assert client.wire.take() == []
    assert healing.hub.streams == {}
    assert healing.hub.tracker.sessions == {}
    with pytest.raises(LocalError, match="not subscribed any longer"):
        channel.stream_from("s")


def test_a_client_that_leaves_while_its_past_is_read(healing: Healing) -> None:
    """What a greenlet of the channel's own confirms; it waits for the broker."""
    made: list[Channel] = []

    class Loading(Channel):
        def subscribed(self) -> None:
            made.append(self)
            self.stream_from("s", presence=True)
            self.defer_confirmation()

        @periodically(1)
        def tick(self) -> None:
            """It must not be there for ever."""

    other = healing.reader()  # so the stream is open already
    healing.broker.lose("s", 1)
    healing.clock.advance(1)
    client = Client(healing.hub, {"TheChannel": Loading})
    client.wire.extended = True
    place = healing.broker.position("s")._asdict()
    client.say(
        command="subscribe",
        identifier=ID,
        history={"streams": {"s": place}},
        presence={"id": "ann"},
    )
    healing.broker.while_asked = [client.subscriptions.close]
    made[0].confirm()
    assert client.wire.timers == []
    assert healing.stream.users == 1
    assert healing.broker.present("s") == {}
    assert [frame["message"] for frame in other.take()] == [1]


def test_one_that_stands_alone(healing: Healing) -> None:
    class Picky(Channel):
        def subscribed(self) -> None:
            self.reject()

    client = Client(healing.hub, {})
    channel = Picky(client.connection, ID, {})
    subscription = Subscription(channel, client.wire, healing.hub)
    subscription.begin()
    subscription.end()  # it is over already
    assert client.wire.take() == [REJECTED]


def test_what_unsubscribed_starts_comes_to_nothing(
    client: Client, subscribe: Subscribe, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(Channel):
        def unsubscribed(self) -> None:
            self.stream_from("s")

    subscribe(Late)
    client.say(command="unsubscribe", identifier=ID)
    assert hub.streams == {}
    assert "not subscribed any longer" in caplog.text


def test_timers_run_in_line_with_commands_while_subscribed(
    client: Client, subscribe: Subscribe
) -> None:
    class Ticking(Channel):
        @periodically(2.5)
        def tick(self) -> None:
            self.transmit("tick")

    subscribe(Ticking)
    (timer,) = client.wire.timers
    assert timer.seconds == 2.5
    timer.job()
    assert client.wire.take() == []
    client.wire.run_jobs()
    assert client.wire.take() == [{"identifier": ID, "message": "tick"}]
    timer.job()
    client.say(command="unsubscribe", identifier=ID)
    client.wire.run_jobs()  # was waiting when it ended
    assert timer.cancelled
    assert client.wire.take() == []


def test_exceptions_find_the_channels_then_the_connections_handler(
    make_client: MakeClient, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caught: list[str] = []

    class AppConnection(Connection):
        @rescue_from(ValueError)
        def invalid(self, error: Exception) -> None:
            caught.append(f"connection {error}")

    class Careful(Channel):
        @rescue_from(KeyError)
        def missing(self, error: Exception) -> None:
            caught.append(f"channel {error}")
            self.transmit({"missing": error.args[0]})

        @rescue_from(OSError)
        def worse(self, error: Exception) -> None:
            raise RuntimeError("the handler fails, too")

        @action
        def fail(self, data: dict[str, Any]) -> None:
            raise {
                "key": KeyError("k"),
                "value": ValueError("v"),
                "os": OSError("o"),
                "type": TypeError("t"),
            }[data["how"]]

    registry["TheChannel"] = Careful
    client = make_client(connection=AppConnection())
    client.subscribe("TheChannel")
    assert client.perform(ID, action="fail", how="key")[0]["message"] == {
        "missing": "k"
    }
    client.perform(ID, action="fail", how="value")
    assert not caplog.records
    with caplog.at_level(logging.ERROR):
        client.perform(ID, action="fail", how="os")
        client.perform(ID, action="fail", how="type")
    assert caught == ["channel 'k'", "connection v"]
    assert "rescuing from OSError('o') failed" in caplog.text
    assert "Careful.fail failed" in caplog.text


class Overtime(BaseException):
    """As ``gevent.Timeout``: no :exc:`Exception`, and yet a failure."""


def test_failures_that_are_no_exceptions_cost_no_more(
    make_client: MakeClient, registry: Registry, hub: Hub
) -> None:
    caught: list[str] = []

    class Slow(Channel):
        def subscribed(self) -> None:
            self.stream_from("s", self.hear)
            if self.params.get("fail"):
                raise Overtime("subscribed")

        def hear(self, message: object) -> None:
            raise Overtime("callback")

        @action
        def act(self) -> None:
            raise Overtime("action")

        @periodically(1)
        def tick(self) -> None:
            raise Overtime("timer")

        def unsubscribed(self) -> None:
            raise Overtime("unsubscribed")

        @rescue_from(Overtime)
        def late(self, error: BaseException) -> None:
            caught.append(str(error))
            if str(error) == "action":
                raise error

    registry["TheChannel"] = Slow
    client = make_client()
    client.wire.failures = (Exception, Overtime)
    assert client.subscribe("TheChannel", fail=True)[0]["type"] == "reject_subscription"
    client.subscribe("TheChannel")
    client.perform(ID, action="act")
    say(hub, "s", b"1")
    client.wire.ring()
    client.subscriptions.close()
    assert caught == [
        *("subscribed", "unsubscribed", "action"),
        *("callback", "timer", "unsubscribed"),
    ]
    assert hub.streams == {}


def test_a_rescued_subscribe_is_rejected_all_the_same(
    client: Client, subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    class Careful(Channel):
        def subscribed(self) -> None:
            raise KeyError("k")

        def unsubscribed(self) -> None:
            raise KeyError("again")

        @rescue_from(KeyError)
        def explain(self, error: Exception) -> None:
            self.transmit(f"no: {error}")

    answers = subscribe(Careful)
    assert [a.get("message", a.get("type")) for a in answers] == [
        "no: 'k'",
        "no: 'again'",
        "reject_subscription",
    ]
    assert not caplog.records


def test_a_failing_timer_is_logged(
    client: Client, subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Channel):
        @periodically(1)
        def tick(self) -> None:
            raise ValueError("on purpose")

    subscribe(Broken)
    client.wire.ring()
    assert "on purpose" in caplog.text
    assert "Broken.tick failed" in caplog.text


def hear_badly(message: object) -> None:
    raise ValueError("on purpose")


def test_a_failing_callback_is_logged_by_its_name(
    client: Client, subscribe: Subscribe, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Channel):
        def subscribed(self) -> None:
            self.stream_from("s", hear_badly)
            self.stream_from("not json", hear_badly)
            self.stream_from("partial", partial(hear_badly))

    subscribe(Broken)
    for stream in ("s", "not json", "partial"):
        say(hub, stream, b"no JSON" if stream == "not json" else b"1")
    client.wire.run_jobs()
    assert len(caplog.messages) == 3
    assert all("hear_badly" in message for message in caplog.messages)


def test_callbacks_hear_a_stream_instead_of_the_client(
    client: Client, subscribe: Subscribe, hub: Hub
) -> None:
    heard: list[Any] = []

    class Listening(Channel):
        def subscribed(self) -> None:
            self.stream_from("json", heard.append)
            self.stream_from("raw", heard.append, coder=bytes)

        @action
        def stop(self) -> None:
            self.stop_stream_from("json")

    subscribe(Listening)
    say(hub, "json", b'{"a":1}')
    say(hub, "raw", b'{"a":1}')
    client.wire.run_jobs()
    assert heard == [{"a": 1}, b'{"a":1}']
    client.perform(ID, action="stop")
    say(hub, "json", b"2")
    client.wire.run_jobs()
    assert len(heard) == 2
    assert client.wire.take() == []


def test_streams_about_things(client: Client, subscribe: Subscribe, hub: Hub) -> None:
    class ThingChannel(Channel):
        def subscribed(self) -> None:
            self.stream_or_reject_for(self.params.get("thing"))

        @action
        def stop(self) -> None:
            self.stop_stream_for(self.params["thing"])

        @action
        def stop_all(self) -> None:
            self.stop_all_streams()

        @action
        def names(self) -> None:
            self.transmit(self.streams)

    assert subscribe(ThingChannel) == [REJECTED]
    subscribe(ThingChannel, thing=["room", 7])
    identifier = identify("TheChannel", thing=["room", 7])
    ThingChannel._broadcast = lambda stream, message: say(hub, stream, message)
    ThingChannel.broadcast_to(("room", 7), b'"hi"')
    assert client.wire.take()[0]["message"] == "hi"
    assert client.perform(identifier, action="names")[0]["message"] == ["thing:room:7"]
    client.perform(identifier, action="stop")
    assert client.perform(identifier, action="names")[0]["message"] == []
    client.perform(identifier, action="stop_all")


def test_payloads_that_do_not_fit_are_refused_to_their_sender(
    client: Client, subscribe: Subscribe
) -> None:
    @dataclass
    class Speech:
        message: str

    seen: list[Speech] = []

    class Typed(Channel):
        def speak(self, speech):  # type: ignore[no-untyped-def]
            seen.append(speech)

        speak.__annotations__ = {"speech": Speech}
        action(speak)

    subscribe(Typed)
    client.perform(ID, action="speak", message="hi")
    assert seen == [Speech("hi")]
    with pytest.raises(CommandError, match="Expected `str`, got `int`"):
        client.perform(ID, action="speak", message=7)
    assert client.wire.take() == [
        {
            "identifier": ID,
            "message": {
                "error": "invalid_payload",
                "action": "speak",
                "field": "message",
                "problem": "Expected `str`, got `int`",
            },
        }
    ]


# Dashboards


class Prices(Channel):
    def subscribed(self) -> None:
        self.stream_from("prices", max_rate=1, conflate="merge", latest=True)

    @action
    def faster(self) -> None:
        self.stream_from("prices", max_rate=10, conflate="merge", latest=True)

    @action
    def plain(self) -> None:
        self.stream_from("prices")

    @action
    def pause(self) -> None:
        self.pause_streams()

    @action
    def resume(self) -> None:
        self.resume_streams()

    @action
    def wrong(self) -> None:
        self.stream_from("prices", max_rate=0)


def heard(client: Client) -> list[Any]:
    return [f["message"] for f in client.wire.take() if "message" in f]


def test_the_value_of_now_comes_first(
    make_client: MakeClient, registry: Registry, hub: Hub, clock: Clock
) -> None:
    registry["TheChannel"] = Prices
    early, late = make_client(), make_client()
    early.subscribe("TheChannel")
    say(hub, "prices", b'{"a":1}')
    say(hub, "prices", b'{"b":2}')
    answers = late.subscribe("TheChannel")
    assert answers[0]["type"] == "confirm_subscription"
    assert answers[1]["message"] == {"a": 1, "b": 2}
    clock.advance(1)
    assert heard(early) == [{"a": 1}, {"b": 2}]


def test_the_value_of_now_of_a_stream_others_hear_in_another_way(
    make_client: MakeClient, registry: Registry, hub: Hub
) -> None:
    registry["TheChannel"] = Prices
    plain, late = make_client(), make_client()
    plain.subscribe("TheChannel")
    plain.perform(ID, action="plain")
    say(hub, "prices", b'{"a":1}')
    assert heard(plain) == [{"a": 1}]
    assert late.subscribe("TheChannel")[1]["message"] == {"a": 1}


def test_terms_can_change_while_subscribed(
    client: Client, subscribe: Subscribe, hub: Hub, clock: Clock
) -> None:
    subscribe(Prices)
    for number in range(20):
        say(hub, "prices", b'{"n":%d}' % number)
        clock.advance(0.1)
    assert len(heard(client)) == 2
    client.perform(ID, action="faster")
    client.perform(ID, action="faster")
    for number in range(20):
        say(hub, "prices", b'{"n":%d}' % number)
        clock.advance(0.1)
    assert len(heard(client)) >= 18
    with pytest.raises(LocalError, match="max_rate is 0"):
        client.subscriptions._by_identifier[ID].channel.stream_from("x", max_rate=0)


def test_a_rate_alone_asks_for_the_latest(
    client: Client, subscribe: Subscribe, hub: Hub, clock: Clock
) -> None:
    class Rated(Channel):
        def subscribed(self) -> None:
            self.stream_from("prices", max_rate=1)

    subscribe(Rated)
    for number in range(5):
        say(hub, "prices", b'{"n%d":1}' % number)
    clock.advance(1)
    assert heard(client) == [{"n0": 1}, {"n4": 1}]


def test_programs_may_see_how_much_was_conflated(
    client: Client, subscribe: Subscribe, hub: Hub, clock: Clock
) -> None:
    class Counted(Channel):
        def subscribed(self) -> None:
            self.stream_from("prices", max_rate=1, counted_as="count")

    subscribe(Counted)
    for number in range(5):
        say(hub, "prices", b'{"n":%d}' % number)
    clock.advance(1)
    assert heard(client) == [{"n": 0, "count": 1}, {"n": 4, "count": 5}]
    with pytest.raises(LocalError, match="give max_rate or conflate, too"):
        client.subscriptions._by_identifier[ID].channel.stream_from(
            "prices", counted_as="count"
        )


def test_a_hidden_tab_pauses_and_comes_back_to_the_value_of_now(
    make_client: MakeClient, registry: Registry, hub: Hub, clock: Clock
) -> None:
    registry["TheChannel"] = Prices
    hidden, other = make_client(), make_client()
    for client in (hidden, other):
        client.subscribe("TheChannel")
    hidden.perform(ID, action="pause")
    hidden.perform(ID, action="pause")
    for number in range(5):
        say(hub, "prices", b'{"n":%d}' % number)
        clock.advance(1)
    assert heard(hidden) == []
    assert len(heard(other)) == 5
    answers = hidden.perform(ID, action="resume")
    assert [a["message"] for a in answers] == [{"n": 4}]


def test_nothing_stays_behind(client: Client, subscribe: Subscribe, hub: Hub) -> None:
    subscribe(Prices)
    say(hub, "prices", b"1")
    say(hub, "prices", b"2")
    client.subscriptions.close()
    assert hub.streams == {}


# Limits


def test_subscriptions_are_limited(make_client: MakeClient, registry: Registry) -> None:
    registry["TheChannel"] = Prices
    client = make_client(max_subscriptions=3)
    for number in range(3):
        answer = client.subscribe("TheChannel", n=number)
        assert answer[0]["type"] == "confirm_subscription"
    with pytest.raises(CommandError, match="max_subscriptions: there are 3"):
        client.subscribe("TheChannel", n=3)
    assert client.wire.take()[0]["type"] == "reject_subscription"
    client.say(command="unsubscribe", identifier=identify("TheChannel", n=0))
    assert client.subscribe("TheChannel", n=3)[0]["type"] == "confirm_subscription"
    client.subscriptions.close()


def test_identifiers_are_limited(client: Client, registry: Registry) -> None:
    registry["TheChannel"] = Prices
    with pytest.raises(CommandError, match="max_identifier_bytes"):
        client.subscribe("TheChannel", n="x" * 65_536)
    assert client.wire.take()[0]["type"] == "reject_subscription"


def test_in_bytes_not_in_characters(
    make_client: MakeClient, registry: Registry
) -> None:
    registry["TheChannel"] = Prices
    client = make_client(max_identifier_bytes=200)

    def subscribe(count: int) -> list[Any]:
        identifier = '{"channel":"TheChannel","n":"%s"}' % ("€" * count)
        assert len(identifier) < 200
        return client.say(command="subscribe", identifier=identifier)

    assert subscribe(40)[0]["type"] == "confirm_subscription"
    with pytest.raises(CommandError, match="has 211 bytes, 200 are allowed"):
        subscribe(60)
