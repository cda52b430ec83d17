"""The cable as Server-Sent Events, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack

import flask
import gevent
import msgspec
import pytest

from gateway import Connection, reasons, signals
from gateway.cable.publication import Publication
from gateway.config import Settings
from gateway.errors import PubSubError
from gateway.events import stream as event_stream
from gateway.pubsub.recording import RecordingPubSub
from tests.events.source import ask, listening, refused
from tests.support import eventually
from tests.support.app import Served, identify
from tests.support.raw import RawClient


def test_a_subscription_in_a_url(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1") as events:
        assert events.next() == {"data": '{"hello":"guest"}'}
        confirmation = events.next()
        assert confirmation["event"] == "confirm_subscription"
        served.app.config["BROADCAST"]("room_1", {"text": "hi"})
        message = events.next()
        assert message["data"] == '{"text":"hi"}'
        assert message["id"].endswith("/room_1")


def test_text_keeps_its_lines(served: Served) -> None:
    with listening(served, identifier=identify("RoomChannel", room=1)) as events:
        events.next(), events.next()
        served.app.config["BROADCAST"]("room_1", "one\ntwo")
        assert events.next()["data"] == "one\ntwo"


def test_only_line_ends_end_a_line(served: Served) -> None:
    with listening(served, identifier=identify("RoomChannel", room=1)) as events:
        events.next(), events.next()
        served.app.config["BROADCAST"]("room_1", {"text": "one\u2028two\u0085"})
        assert events.next()["data"] == '{"text":"one\u2028two\u0085"}'


def test_who_comes_back_is_told_what_it_missed(served: Served) -> None:
    broadcast = served.app.config["BROADCAST"]
    with listening(served, channel="RoomChannel", room="1") as events:
        events.next(), events.next()
        broadcast("room_1", 1)
        last = events.next()["id"]
    broadcast("room_1", 2)
    broadcast("room_1", 3)
    back = {"Last-Event-ID": last}
    with listening(served, back, channel="RoomChannel", room="1") as events:
        assert [events.next().get("event") for _ in range(2)] == [
            None,
            "confirm_subscription",
        ]
        assert [events.next()["data"] for _ in range(2)] == ["2", "3"]
        assert events.next()["event"] == "confirm_history"
        broadcast("room_1", 4)
        assert events.next()["data"] == "4"


def test_who_was_away_too_long_is_told_so(served: Served) -> None:
    back = {"Last-Event-ID": "7/another-epoch/room_1"}
    with listening(served, back, channel="RoomChannel", room="1") as events:
        events.next(), events.next()
        assert events.next()["event"] == "reject_history"


def test_the_session_says_who_it_is(served: Served) -> None:
    ann = served.cookie({"name": "ann"})
    with listening(served, ann, channel="RoomChannel", room="1") as events:
        assert events.next() == {"data": '{"hello":"ann"}'}
        events.next()
        served.app.config["DISCONNECT"](user="ann", reconnect=False)
        last = events.next()
        assert last["event"] == "disconnect"
        assert int(last["retry"]) > 1e9  # EventSource, do not come back
        assert events.over
    eventually(lambda: served.app.config.get("LEFT") == ["ann"])


def test_who_is_cut_before_the_first_message_is_told_it(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1") as events:
        last = events.until("confirm_subscription")["id"]
    served.app.config["BROADCAST"]("room_1", "missed")
    back = {"Last-Event-ID": last}
    with listening(served, back, channel="RoomChannel", room="1") as events:
        assert events.next() == {"data": '{"hello":"guest"}', "id": last}
        assert events.next()["event"] == "confirm_subscription"
        assert events.next()["data"] == "missed"


def test_of_two_streams_nothing_is_lost(served: Served) -> None:
    broadcast = served.app.config["BROADCAST"]
    with listening(served, channel="TwinsChannel") as events:
        events.until("confirm_subscription")
        broadcast("left", 1)
        last = events.next()["id"]
    broadcast("left", 2)
    broadcast("right", 3)
    back = {"Last-Event-ID": last}
    with listening(served, back, channel="TwinsChannel") as events:
        events.until("confirm_subscription")
        missed = [events.next() for _ in range(2)]
        assert [event["data"] for event in missed] == ["2", "3"]
        left, right = missed[-1]["id"].split(" ")
        assert (left[:2], right[:2]) == ("2/", "1/")
        assert events.next()["event"] == "confirm_history"


@pytest.mark.parametrize("room", ["küche", "a b,c", "50%\n"])
def test_a_stream_may_have_any_name(served: Served, room: str) -> None:
    broadcast = served.app.config["BROADCAST"]
    with listening(served, channel="RoomChannel", room=room) as events:
        last = events.until("confirm_subscription")["id"]
    broadcast(f"room_{room}", "missed")
    back = {"Last-Event-ID": last}
    with listening(served, back, channel="RoomChannel", room=room) as events:
        events.until("confirm_subscription")
        assert events.next()["data"] == "missed"


def test_a_name_need_not_be_quoted(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="küche") as events:
        offset, epoch, _ = events.until("confirm_subscription")["id"].split("/")
    served.app.config["BROADCAST"]("room_küche", "missed")
    name = "room_küche".encode().decode("latin-1")  # as http.client wants it
    back = {"Last-Event-ID": f"{offset}/{epoch}/{name}"}
    with listening(served, back, channel="RoomChannel", room="küche") as events:
        events.until("confirm_subscription")
        assert events.next()["data"] == "missed"


def test_several_subscriptions_in_a_body(served: Served) -> None:
    broadcast = served.app.config["BROADCAST"]
    rooms = [identify("RoomChannel", room=room) for room in "12"]
    body = "\n".join(
        msgspec.json.encode({"command": "subscribe", "identifier": room}).decode()
        for room in rooms
    )
    with listening(served, body=body) as events:
        events.until("confirm_subscription")
        last = events.until("confirm_subscription")["id"]
    broadcast("room_1", "one")
    broadcast("room_2", "two")
    with listening(served, {"Last-Event-ID": last}, body) as events:
        for room, said in zip(rooms, ("one", "two"), strict=True):
            events.until("confirm_subscription")
            frame = msgspec.json.decode(events.next()["data"])
            assert (frame["identifier"], frame["message"]) == (room, said)
            assert events.next()["event"] == "confirm_history"


def test_messages_only(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1", raw="1") as events:
        assert events.next() == {"data": '{"hello":"guest"}'}
        assert events.next().keys() == {"id"}
        served.app.config["BROADCAST"]("room_1", "hi")
        assert events.next()["data"] == "hi"


def test_what_a_program_has_posted_in_lines(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1") as events:
        events.until("confirm_subscription")
        for message in (b"no JSON", b'{\n "a": 1\n}'):  # as somebody may PUBLISH it
            served.cable.hub.deliver("room_1", Publication(message))
        assert msgspec.json.decode(events.next()["data"]) == {"a": 1}


def test_a_page_may_ask_first(served: Served) -> None:
    page = {
        "Origin": f"http://127.0.0.1:{served.port}",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    with ask(served, "OPTIONS", headers=page) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    with ask(served, "OPTIONS", headers={"Origin": "https://evil.net"}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(served: Served, method: str) -> None:
    with ask(served, method, channel="RoomChannel", room="1") as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST", "OPTIONS"}


def test_the_head_alone(served: Served) -> None:
    with ask(served, "HEAD", channel="RoomChannel", room="1") as answer:
        assert answer.status == 200
        assert answer.read() == b""
    assert not served.cable.event_streams


@pytest.mark.parametrize(
    ("session", "query", "answer"),
    [
        ({"banned": True}, {"channel": "RoomChannel", "room": "1"}, "401 Unauthorized"),
        ({"broken": True}, {"channel": "RoomChannel", "room": "1"}, "500 Internal err"),
        ({}, {"channel": "RoomChannel", "room": "closed"}, "400 The subscription was"),
        ({}, {"channel": "NoChannel"}, "400 no channel is registered as 'NoChannel'"),
        ({}, {}, "400 "),
        ({}, {"identifier": "{"}, "400 "),
        ({}, {"channel": "RoomChannel", "history_since": "²"}, "400 history_since is"),
    ],
)
def test_refusals(
    served: Served, session: dict[str, object], query: dict[str, str], answer: str
) -> None:
    assert refused(served, served.cookie(session), **query).startswith(answer)
    assert not served.cable.event_streams
    assert not served.cable.endpoint.places.pending
    assert served.cable.statistics().closed.keys() <= {"normal"}
    assert not served.cable.hub.streams


@pytest.mark.parametrize("place", ["²/e/room_1", "9" * 5000 + "/e/room_1"])
def test_a_place_that_is_none(served: Served, place: str) -> None:
    back = {"Last-Event-ID": place}
    answer = refused(served, back, channel="RoomChannel", room="1")
    assert answer.startswith("400 Last-Event-ID is ")
    assert not served.cable.event_streams


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("", "400 send a subscribe command"),
        ("coffee", "400 line 1: not a command"),
        ('{"command":"subscribe","identifier":"{}"}', "400 the identifier names no"),
        ("x" * 2**16 + "x", "413 "),
    ],
)
def test_bodies_that_are_refused(served: Served, body: str, answer: str) -> None:
    assert refused(served, body=body).startswith(answer)
    assert not served.cable.event_streams


def test_one_rejection_rejects_all(served: Served) -> None:
    body = "\n".join(
        msgspec.json.encode({"command": "subscribe", "identifier": it}).decode()
        for it in (
            identify("RoomChannel", room=1),
            identify("RoomChannel", room="closed"),
        )
    )
    assert refused(served, body=body) == "400 The subscription was rejected.\n"
    assert not served.cable.event_streams
    assert not served.cable.hub.streams


def test_a_rejection_that_comes_later_ends_it(served: Served) -> None:
    with listening(served, channel="LateChannel") as events:
        last = events.next()
        assert last["event"] == "reject_subscription"
        assert int(last["retry"]) > 1e9  # EventSource, do not come back
        assert events.over
    eventually(lambda: not served.cable.event_streams)


class Away(RecordingPubSub):
    """A broker that takes no subscriptions to rooms."""

    def subscribe(self, stream: str) -> None:
        if stream.startswith("room"):
            raise PubSubError("nobody is there")
        super().subscribe(stream)


def test_a_broker_that_is_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(adapter=f"{__name__}:Away")
    monkeypatch.setattr(served.cable, "settings", settings)
    with ask(served, channel="RoomChannel", room="1") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.read() == b"The message broker does not answer\n"
    assert not served.cable.event_streams


def test_a_foreign_page_is_refused(served: Served) -> None:
    evil = {"Origin": "https://evil.net"}
    answer = refused(served, evil, channel="RoomChannel", room="1")
    assert answer.startswith("403 ")


def test_a_client_that_is_gone_leaves_nothing(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1") as events:
        events.next()
        assert len(served.cable.event_streams) == 1
        assert list(served.cable.hub.streams) == ["room_1"]

    def gone() -> bool:
        served.app.config["BROADCAST"]("room_1", "x" * 100_000)  # it must be written to
        return not served.cable.event_streams and not served.cable.hub.streams

    eventually(gone)


@pytest.mark.parametrize("name", ["unlucky", "mended"])
def test_a_disconnect_that_fails_ends_it_all_the_same(
    served: Served, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = served.cookie({"name": name})
    with listening(served, cookie, channel="RoomChannel", room="1") as events:
        events.next(), events.next()
        for _ in range(2):  # the second has nobody to send away
            served.app.config["DISCONNECT"](user=name)
        served.app.config["BROADCAST"]("room_1", "too late")
        assert events.next()["event"] == "disconnect"
        assert events.over
    eventually(lambda: not served.cable.event_streams)
    assert served.app.config["LEFT"] == [name]
    assert ("disconnect failed" in caplog.text) is (name == "unlucky")
    assert served.app.config.get("MENDED", []) == ["mended"] * (name == "mended")


def test_an_answer_that_is_closed_twice_ends_once(served: Served) -> None:
    answer = served.app.test_client().get("/cable/events?channel=RoomChannel&room=1")
    assert len(served.cable.event_streams) == 1
    answer.close()
    answer.close()
    assert not served.cable.event_streams
    assert served.app.config["LEFT"] == ["guest"]


def test_a_channel_speaks_again_and_again(served: Served) -> None:
    with listening(served, channel="ClockChannel") as events:
        assert events.next()["event"] == "confirm_subscription"
        (stream,) = served.cable.event_streams
        assert [events.next()["data"] for _ in range(3)] == [stream.id] * 3


def test_something_may_be_done_later_in_an_app_context(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1"):
        (stream,) = served.cable.event_streams
        apps: list[str] = []
        stream.later(0.01, lambda: apps.append(flask.current_app.name))
        eventually(lambda: apps == [served.app.name])


def test_a_slow_timer_does_not_pile_up(served: Served) -> None:
    with listening(served, channel="SlowChannel") as events:
        events.until("confirm_subscription")
        heard = [events.next()["data"] for _ in range(3)]
        assert max(heard) <= "2"  # one says it, one waits for that


def test_of_a_dashboards_stream_the_newest_always_comes(served: Served) -> None:
    with listening(served, channel="PricesChannel") as events:
        assert events.next()["event"] == "confirm_subscription"
        for number in range(100):
            served.app.config["BROADCAST"]("prices", {"number": number})
        heard = [events.next()["data"]]
        while heard[-1] != '{"number":99}':
            heard.append(events.next()["data"])
        assert len(heard) < 100


def test_a_stream_that_is_silent_shows_that_it_is_there(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "_HEARTBEAT_S", 0.01)
    with listening(served, channel="RoomChannel", room="1") as answer:
        answer.next(), answer.next()
        assert answer.answer.readline() == b": still here\n"


def test_the_past_may_be_asked_for_since_a_time(served: Served) -> None:
    served.app.config["BROADCAST"]("room_1", "before")
    with listening(served, channel="RoomChannel", room="1", history_since="1.5") as got:
        got.next(), got.next()
        assert got.next()["data"] == "before"


def test_a_page_that_may_read_it_is_named(served: Served) -> None:
    origin = f"http://127.0.0.1:{served.port}"
    with listening(
        served, {"Origin": origin}, channel="RoomChannel", room="1"
    ) as events:
        headers = events.answer.headers
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in headers["Vary"]


def test_a_signals_receiver_that_fails_costs_only_itself(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: object, **about: object) -> None:
        raise RuntimeError("on purpose")

    with (
        signals.subscribed.connected_to(fail),
        listening(served, channel="RoomChannel", room="1") as events,
    ):
        assert events.next() == {"data": '{"hello":"guest"}'}
        assert events.next()["event"] == "confirm_subscription"
    assert "a receiver of 'subscribed' failed" in caplog.text


def deaf(served: Served, query: str = "channel=RoomChannel&room=1") -> RawClient:
    """A client that asks for events and never reads any."""
    client = RawClient(served.port)
    client.send(
        b"GET /cable/events?%b HTTP/1.1\r\n"
        b"Host: x\r\nConnection: close\r\n\r\n" % query.encode()
    )
    eventually(lambda: served.cable.event_streams)
    return client


def test_a_client_that_does_not_read_is_given_up(served: Served) -> None:
    served.cable.settings = Settings(write_timeout=0.1)
    told: list[str] = []

    def tell(sender: object, connection: Connection) -> None:
        told.append(connection.id)

    with signals.too_slow.connected_to(tell), deaf(served):
        (stream,) = served.cable.event_streams
        served.app.config["BROADCAST"]("room_1", "x" * 10_000_000)
        eventually(lambda: not served.cable.event_streams)
        assert not served.cable.hub.streams
        assert stream.close_reason is reasons.TOO_SLOW
        assert told == [stream.id]
    assert served.app.config["LEFT"] == ["guest"]


def test_what_waits_for_a_client_that_does_not_read_is_bounded(served: Served) -> None:
    served.cable.settings = Settings(max_outgoing_bytes=100_000)
    with deaf(served) as client:
        (stream,) = served.cable.event_streams
        served.app.config["BROADCAST"]("room_1", "x" * 10_000_000)
        eventually(lambda: stream.stalled)
        for _ in range(11):
            served.app.config["BROADCAST"]("room_1", "y" * 10_000)
        eventually(lambda: stream.close_reason is reasons.TOO_SLOW)
        end = b""
        while data := client.sock.recv(65536):  # it reads after all
            end = (end + data)[-1000:]
        assert b'"reason":"too_slow"' in end
    eventually(lambda: not served.cable.event_streams)


def test_of_a_dashboards_stream_one_value_waits_for_a_client_that_does_not_read(
    served: Served,
) -> None:
    broadcast = served.app.config["BROADCAST"]
    with deaf(served, "channel=PricesChannel"):
        (stream,) = served.cable.event_streams
        broadcast("prices", {"apples": "x" * 10_000_000})
        eventually(lambda: stream.stalled)
        waiting: set[int] = set()
        for number in range(10_000, 10_005):
            before = served.cable.endpoint.turn.messages_out
            broadcast("prices", {"apples": number})
            eventually(lambda n=before: served.cable.endpoint.turn.messages_out > n)
            waiting.add(stream.info().waiting_bytes)
        assert len(waiting) == 1
        assert 0 < waiting.pop() < 200
        assert stream.close_reason is None


def test_a_large_message_is_no_reason_to_send_a_reader_away(served: Served) -> None:
    served.cable.settings = Settings(max_outgoing_bytes=100_000)
    with listening(served, channel="RoomChannel", room="1") as events:
        events.until("confirm_subscription")
        for _ in range(2):
            served.app.config["BROADCAST"]("room_1", "x" * 100_001)
        assert len(events.next()["data"]) == len(events.next()["data"]) == 100_001


def test_a_server_that_stops_ends_it(served: Served) -> None:
    with listening(served, channel="RoomChannel", room="1") as events:
        events.next(), events.next()
        served.cable.drain()
        last = events.next()
        assert (last["event"], "server_restart" in last["data"]) == ("disconnect", True)
        assert events.over
    answer = refused(served, channel="RoomChannel", room="1")
    assert answer == "503 This server is shutting down.\n"


def test_a_server_that_stops_sends_all_away_by_and_by(served: Served) -> None:
    served.cable.settings = Settings(drain_seconds=60)
    with ExitStack() as stack:
        heard = [
            stack.enter_context(listening(served, channel="RoomChannel", room="1"))
            for _ in range(2)
        ]
        draining = gevent.spawn(served.cable.drain)
        eventually(lambda: len(served.cable.event_streams) == 1)
        served.cable.hurry()
        for events in heard:
            assert "server_restart" in events.until("disconnect")["data"]
        draining.join()


def test_an_event_stream_counts_as_a_socket(served: Served) -> None:
    before = served.cable.statistics()
    with listening(served, channel="RoomChannel", room="1") as events:
        events.until("confirm_subscription")
        during = served.cable.statistics()
        assert (during.sockets, during.opened) == (1, before.opened + 1)
        assert during.messages_out >= before.messages_out + 2
        eventually(lambda: served.cable.statistics().bytes_out > before.bytes_out)
        (info,) = served.cable.connections()
        assert info.identifiers == {"user": "guest"}
        assert info.subscriptions == [identify("RoomChannel", room="1")]
        assert (info.bytes_in, info.waiting_bytes) == (0, 0)
        served.app.config["DISCONNECT"](user="guest")
        events.until("disconnect")
        assert events.over
    eventually(lambda: not served.cable.event_streams)
    after = served.cable.statistics()
    assert (after.sockets, after.closed) == (0, {"remote": 1})
