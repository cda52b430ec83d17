"""Hostile bytes against a real server: the answer, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.frames import Opcode

from tests.support.app import CableClient, identify
from tests.support.live import LiveServer
from tests.support.raw import RawClient, frame, unmasked

pytestmark = pytest.mark.process

TEXT, BINARY = Opcode.TEXT, Opcode.BINARY
ROOM = identify("ChatChannel", room_id="bad")


@pytest.fixture(autouse=True)
def _bystander(live: LiveServer) -> Iterator[None]:
    """Another client, whose socket goes on working whatever the test does."""
    with CableClient(live.connect("/cable")) as client:
        client.receive()
        client.subscribe("EchoChannel")
        yield
        client.perform(identify("EchoChannel"), action="echo", still="here")
        assert client.message() == {"still": "here"}


@pytest.fixture
def cable(live: LiveServer) -> RawClient:
    """A welcomed client that can send any bytes."""
    client = live.raw()
    assert client.request("/cable")[0] == 101
    assert heard(client) == b'{"type":"welcome"}'
    return client


def heard(client: RawClient) -> bytes:
    """The next frame that is no heartbeat."""
    while (received := client.receive()) is not None:
        if b'"type":"ping"' not in received.data:
            return bytes(received.data)
    raise AssertionError("the connection ended")


def subscribe_answers(client: RawClient) -> None:
    """The connection is alive: a subscription is confirmed."""
    name = '{\\"channel\\":\\"ChatChannel\\",\\"room_id\\":\\"bad\\"}'
    client.send_text('{"command":"subscribe","identifier":"' + name + '"}')
    assert b"confirm_subscription" in heard(client)


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"this is not JSON"),
        frame(TEXT, b"[]"),
        frame(TEXT, b'{"command":"make coffee"}'),
        frame(BINARY, b'{"command":"subscribe"}'),
        frame(TEXT, b'{"command":"message","identifier":"unknown","data":"{}"}'),
        frame(TEXT, b'{"command":"unsubscribe","identifier":"unknown"}'),
        frame(TEXT, b'{"command":"subscribe","identifier":7}'),
        frame(TEXT, b'{"command":"x","data":' + b"[" * 50_000),
    ],
)
def test_ignored(cable: RawClient, data: bytes) -> None:
    cable.send(data)
    subscribe_answers(cable)


def test_unknown_channels_are_rejected(cable: RawClient) -> None:
    for name in ("Nothing", "Channel", "gateway.cable.channel.Channel", "os"):
        cable.send_text(
            '{"command":"subscribe","identifier":"{\\"channel\\":\\"' + name + '\\"}"}'
        )
        assert b"reject_subscription" in heard(cable)
    subscribe_answers(cable)


def test_methods_that_are_no_actions(cable: RawClient) -> None:
    subscribe_answers(cable)
    name = ROOM.replace('"', '\\"')
    for method in ("subscribed", "_own_streams", "__init__", "room", "stream_from"):
        data = '{\\"action\\":\\"' + method + '\\",\\"message\\":\\"x\\"}'
        cable.send_text(
            f'{{"command":"message","identifier":"{name}","data":"{data}"}}'
        )
    data = '{\\"action\\":\\"speak\\",\\"message\\":\\"x\\"}'
    cable.send_text(f'{{"command":"message","identifier":"{name}","data":"{data}"}}')
    assert b'"message":"x"' in heard(cable)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\xff" + (2**31).to_bytes(8, "big"), 1009),
        (b"\x81\xff" + (2**63 - 1).to_bytes(8, "big"), 1009),
        (frame(TEXT, b"x" * (2**20 + 1)), 1009),
        (unmasked(TEXT, b"{}"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (b"\xff\xff\xff\xff", 1002),
    ],
)
def test_broken_frames_end_the_connection(
    cable: RawClient, data: bytes, code: int
) -> None:
    cable.send(data)
    got = heard(cable)
    assert b'"type":"disconnect"' in got
    assert cable.receive_close()[0] == code


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "abc"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": None}, 426),
        ({"Connection": "close"}, 400),
        ({"Content-Length": "1000000"}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
        ({"Origin": "https://evil.net"}, 404),
        ({"Origin": "null"}, 404),
        ({"Sec-WebSocket-Protocol": "\xff"}, 400),
        ({"Sec-WebSocket-Extensions": ";;"}, 400),
    ],
)
def test_bad_handshakes(
    live: LiveServer, changes: dict[str, str | None], status: int
) -> None:
    with live.raw() as client:
        got, headers, body = client.request("/cable", changes)
        assert got == status
        assert body
        if status == 426:
            assert headers["sec-websocket-version"] == "13"


def test_plain_get_on_the_cable(live: LiveServer) -> None:
    with live.raw() as raw:
        status, headers, body = raw.request("/cable", {"Upgrade": None})
    assert (status, headers["content-type"]) == (404, "text/plain")
    assert body == b"Page not found\n"


def test_an_upgrade_with_a_body_is_refused_and_the_connection_closed(
    live: LiveServer,
) -> None:
    with live.raw() as client:
        status, headers, _ = client.request(
            "/cable", {"Content-Length": "4"}, body=b"body"
        )
        assert (status, headers["connection"]) == (400, "close")
        client.receive_eof()


def test_connect_and_leave_at_every_step(live: LiveServer) -> None:
    for step in range(4):
        client = live.raw()
        if step > 0:
            client.send(b"GET /cable HT")
        if step > 1:
            client = live.raw()
            client.request("/cable")
        if step > 2:
            client.send(b"\x81\xfe\x10")
        client.reset()
