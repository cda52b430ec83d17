"""What may be posted, and what is made of it; and who may post over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway import control, posting
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.memory import MemoryPubSub
from tests.support.app import Served
from tests.test_extension import make_app

KEY = "a key"
BEARER = {"Authorization": f"Bearer {KEY}"}


def post(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"a": 1}', b'{"a": 1}'),
        ('"text"', b'"text"'),
        ("plain words", b'"plain words"'),
        ("", b'""'),
        ("NaN", b'"NaN"'),
    ],
)
def test_data_is_json_or_a_string(data: str, message: bytes) -> None:
    assert posting.read(post(stream="s", data=data)) == [("s", Publication(message))]


def test_a_list_keeps_its_order() -> None:
    items = [{"stream": stream, "data": "1"} for stream in "abc"]
    read = posting.read(msgspec.json.encode(items))
    assert [stream for stream, _ in read] == ["a", "b", "c"]
    assert posting.read(b"[]") == []


def test_what_it_says_about_itself() -> None:
    meta = {"exclude_socket": "f00-1", "transient": True, "unknown": 1}
    ((_, publication),) = posting.read(post(stream="s", data="1", meta=meta))
    assert publication == Publication(b"1", exclude="f00-1", transient=True)


def test_an_order_to_disconnect() -> None:
    payload = {"identifier": '{"current_user":"ann"}', "reconnect": False}
    ((stream, order),) = posting.read(post(command="disconnect", payload=payload))
    assert stream == control.CONTROL
    assert control.read(order) == control.Disconnect({"current_user": "ann"}, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"7",
        b"[7]",
        b'{"stream": "s"}',
        b'{"stream": "", "data": "1"}',
        b'{"stream": "s", "data": {"not": "a string"}}',
        b'{"command": "explode", "payload": {"identifier": "{}"}}',
        b'{"command": "disconnect", "payload": {"identifier": "not JSON"}}',
        b'{"command": "disconnect"}',
        b'{"command": "disconnect", "payload": {"identifier": "{}"}}',
        b'{"command": "disconnect", "payload": {"identifier": "[]"}}',
        b'{"command": "disconnect", "payload": {"identifier": "{\\"user\\":null}"}}',
        b'{"command": "disconnect", "payload": {"identifier": "{\\"user\\":{}}"}}',
        b'{"stream": "gateway:control", "data": "1"}',
        b"\xff",
        b'{"stream": "s", "data": "\\ud800"}',
        b"[" * 100_000,
        b'[{"stream": "s", "data": "1"}, 7]',
    ],
)
def test_what_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        posting.read(body)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer a key", "a key"),
        ("bearer  a key ", "a key"),
        ("Bearer clé".encode().decode("latin-1"), "clé"),
    ],
)
def test_who_bears_the_key(header: str, key: str) -> None:
    assert posting.has_key(header, key)


# Over HTTP


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(make_app(GATEWAY_BROADCAST_KEY=KEY)[0]) as running:
        yield running


def test_who_has_the_key_is_heard(served: Served) -> None:
    http = served.app.test_client()
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        one = post(stream="room_1", data='"one"')
        answer = http.post("/cable/broadcast", data=one, headers=BEARER)
        assert answer.status_code == 201
        more = msgspec.json.encode([{"stream": "room_1", "data": n} for n in "23"])
        assert (
            http.post("/cable/broadcast", data=more, headers=BEARER).status_code == 201
        )
        assert [client.message() for _ in range(3)] == ["one", 2, 3]


def test_who_has_the_key_can_disconnect(served: Served) -> None:
    http = served.app.test_client()
    ann = [served.client(headers=served.cookie({"name": "ann"})) for _ in range(3)]
    with served.client(headers=served.cookie({"name": "bob"})) as bob:
        order = post(
            command="disconnect", payload={"identifier": '{"current_user":"ann"}'}
        )
        answer = http.post("/cable/broadcast", data=order, headers=BEARER)
        assert answer.status_code == 201
        for client in ann:
            assert client.receive()["reason"] == "remote"
            assert client.ws.wait_closed(5)
        assert bob.subscribe("RoomChannel", room=1) == "confirm_subscription"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_who_has_not_is_not(served: Served, headers: dict[str, str]) -> None:
    http = served.app.test_client()
    body = post(stream="room_1", data="1")
    answer = http.post("/cable/broadcast", data=body, headers=headers)
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.text


def test_what_cannot_be_read_is_422_and_none_of_it_counts(served: Served) -> None:
    http = served.app.test_client()
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        body = b'[{"stream": "room_1", "data": "1"}, {"stream": 7}]'
        answer = http.post("/cable/broadcast", data=body, headers=BEARER)
        assert answer.status_code == 422
        assert "not a publication" in answer.text
        served.cable.broadcast("room_1", "the first")
        assert client.message() == "the first"


def test_it_is_for_posting_only(served: Served) -> None:
    answer = served.app.test_client().get("/cable/broadcast", headers=BEARER)
    assert answer.status_code in (404, 405)


def test_without_a_key_there_is_nothing() -> None:
    app, _ = make_app()
    answer = app.test_client().post("/cable/broadcast", data=b"{}", headers=BEARER)
    assert answer.status_code == 404
    assert "no broadcast_key" in answer.text


# Asking who is present


class Away(MemoryPubSub):
    """A broker that does not answer."""

    def present(self, stream: str) -> dict[str, Any]:
        raise PubSubError("nobody is there")


def test_who_has_the_key_is_told_who_is_present(served: Served) -> None:
    http = served.app.test_client()
    assert http.get("/cable/presence/room_1", headers=BEARER).json == {
        "type": "info",
        "total": 0,
        "records": [],
    }
    served.cable.pubsub.join("a room/é", "ann", "tab", {"mood": "fine"})
    answer = http.get("/cable/presence/a%20room/%C3%A9", headers=BEARER)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json == {
        "type": "info",
        "total": 1,
        "records": [{"id": "ann", "info": {"mood": "fine"}}],
    }


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_who_has_not_learns_of_nobody(served: Served, headers: dict[str, str]) -> None:
    served.cable.pubsub.join("room_1", "ann", "tab", None)
    answer = served.app.test_client().get("/cable/presence/room_1", headers=headers)
    assert answer.status_code == 401
    assert "ann" not in answer.text


def test_without_a_key_nobody_may_ask() -> None:
    app, _ = make_app()
    answer = app.test_client().get("/cable/presence/room_1", headers=BEARER)
    assert answer.status_code == 404
    assert "no broadcast_key" in answer.text


def test_nobody_is_told_without_a_broker() -> None:
    app, _ = make_app(GATEWAY_BROADCAST_KEY=KEY, GATEWAY_ADAPTER=f"{__name__}:Away")
    with Served(app):
        answer = app.test_client().get("/cable/presence/s", headers=BEARER)
        assert (answer.status_code, answer.text) == (503, "nobody is there\n")
