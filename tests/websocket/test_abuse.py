"""What has brought other WebSocket servers down, done to ours over real sockets.

Each test is a class of published vulnerabilities. Ours must answer as the RFC says,
hold no more memory than its limits allow, start no greenlet, and go on serving others.
"""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator
from contextlib import suppress

import gevent
import psutil
import pytest
from greenlet import greenlet
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from gateway.websocket import Limits, WebSocket, WebSocketServer, connect
from tests.support import eventually
from tests.support.raw import UPGRADE, RawClient, frame
from tests.websocket.conftest import Serve, echo, raw

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE

MEBIBYTE = 2**20


def dial(server: WebSocketServer) -> RawClient:
    return RawClient(int(server.url.rsplit(":", 1)[1]))


def deflating(server: WebSocketServer) -> RawClient:
    """A client that has agreed on permessage-deflate."""
    client = dial(server)
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    assert "permessage-deflate" in str(client.request(headers=offer)[1])
    return client


def deflated(data: bytes) -> bytes:
    encoder = zlib.compressobj(9, wbits=-12)
    return (encoder.compress(data) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def greenlets() -> int:
    return sum(isinstance(each, greenlet) for each in gc.get_objects())


def pour(client: RawClient, data: bytes) -> gevent.Greenlet[..., None]:
    """Send in the background, however much, until the server will have no more."""

    def run() -> None:
        with suppress(OSError):  # once the server has closed
            client.send(data)

    return gevent.spawn(run)


@pytest.fixture(autouse=True)
def _clients_leave_first(serve: Serve) -> Iterator[None]:
    """So that no server waits for them."""
    yield
    while RawClient.opened:
        RawClient.opened.pop().close()


def measure(ws: WebSocket, message: str | bytes) -> None:
    ws.send(f"{len(message)} bytes")


@pytest.fixture
def server(serve: Serve) -> Iterator[WebSocketServer]:
    """Its other clients are served as ever, whatever the test does."""
    server = serve(on_message=measure, ping_interval_s=None)
    with connect(server.url) as bystander:
        yield server
        bystander.send("here")
        assert bystander.receive(10) == "4 bytes"


# Messages that are larger than they look


@pytest.mark.slow
def test_a_decompression_bomb(server: WebSocketServer) -> None:
    bomb = frame(BINARY, deflated(bytes(512 * MEBIBYTE)), rsv1=True)
    assert MEBIBYTE // 4 < len(bomb) < MEBIBYTE
    client = deflating(server)
    before = resident_bytes()
    client.send(bomb)
    assert client.receive_close()[0] == 1009
    assert resident_bytes() - before < 8 * MEBIBYTE


@pytest.mark.slow
def test_many_bombs_that_each_keep_within_the_limit(server: WebSocketServer) -> None:
    """None is too big; all at once would be half a gigabyte."""
    bomb = frame(BINARY, deflated(bytes(MEBIBYTE)), rsv1=True)
    client = deflating(server)
    before = resident_bytes()
    sending = pour(client, bomb * 500)
    for _ in range(500):
        received = client.receive()
        assert received is not None
        assert received.data == b"1048576 bytes"
        assert resident_bytes() - before < 32 * MEBIBYTE
    sending.get()
    client.close()


def test_a_message_that_never_ends(server: WebSocketServer) -> None:
    client = raw(server)
    piece = frame(CONT, bytes(60_000), fin=False)
    pour(client, frame(BINARY, b"", fin=False) + piece * 1000)
    assert client.receive_close()[0] == 1009


@pytest.mark.parametrize("fragments", [10**6, 2**17 + 1])
def test_fragments_of_one_byte(server: WebSocketServer, fragments: int) -> None:
    client = raw(server)
    one = frame(CONT, b"x", fin=False)
    before = resident_bytes()
    pour(client, frame(TEXT, b"x", fin=False) + one * (fragments - 1))
    assert client.receive_close() == (1009, "over 131072 fragments")
    assert resident_bytes() - before < 4 * fragments * len(one) + MEBIBYTE


def test_as_many_fragments_of_one_byte_as_are_allowed(server: WebSocketServer) -> None:
    client = raw(server)
    middle = frame(CONT, b"x", fin=False) * (2**17 - 2)
    pour(client, frame(TEXT, b"x", fin=False) + middle + frame(CONT, b"x"))
    received = client.receive(30)
    assert received is not None
    assert received.data == b"131072 bytes"


def test_a_message_in_packets_of_one_byte(server: WebSocketServer) -> None:
    client = raw(server)
    for byte in frame(TEXT, b"slowly " * 300):
        client.send(bytes([byte]))
    received = client.receive()
    assert received is not None
    assert received.data == b"2100 bytes"


@pytest.mark.parametrize("announced", [MEBIBYTE + 1, 2**31, 2**63 - 1, 2**64 - 1])
def test_a_size_that_is_only_announced(server: WebSocketServer, announced: int) -> None:
    before = psutil.Process().memory_info().vms
    client = raw(server)
    client.send(b"\x82\xff" + announced.to_bytes(8, "big"))
    assert client.receive_close()[0] == 1009
    assert psutil.Process().memory_info().vms - before < 64 * MEBIBYTE


# Limits hold through the whole stack: at the limit, and at one more


SIZE = 100_000


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("cut", [0, 1, SIZE // 2])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_the_size_of_a_message(
    serve: Serve, opcode: Opcode, cut: int, deflate: bool
) -> None:
    server = serve(on_message=measure, limits=Limits(max_message_bytes=SIZE))
    for size in (SIZE, SIZE + 1):
        client = deflating(server) if deflate else raw(server)
        data = deflated(b"x" * size) if deflate else b"x" * size
        if cut:
            first = frame(opcode, data[:cut], fin=False, rsv1=deflate)
            client.send(first + frame(CONT, data[cut:]))
        else:
            client.send(frame(opcode, data, rsv1=deflate))
        if size == SIZE:
            received = client.receive()
            assert received is not None
            assert received.data == b"100000 bytes"
        else:
            assert client.receive_close()[0] == 1009


def test_the_number_of_fragments(serve: Serve) -> None:
    server = serve(echo, limits=Limits(max_fragments=10))
    for middle in (8, 9):
        client = raw(server)
        client.send(frame(TEXT, b"a", fin=False))
        client.send(frame(CONT, b"b", fin=False) * middle + frame(CONT, b"c"))
        received = client.receive()
        assert received is not None
        assert received.opcode is (TEXT if middle == 8 else CLOSE)
        client.close()


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(max_sockets=2), 503),
        (Limits(max_sockets_per_address=2), 429),
    ],
)
def test_the_number_of_sockets(serve: Serve, limits: Limits, status: int) -> None:
    server = serve(echo, limits=limits)
    first = [raw(server), raw(server)]
    assert dial(server).request()[0] == status
    first.pop().close()
    eventually(lambda: len(server.sockets) == 1)
    assert dial(server).request()[0] == 101
    first.pop().close()


# Headers that crash


HEADERS = [
    "Host",
    "Origin",
    "Cookie",
    "User-Agent",
    "X-Forwarded-For",
    *UPGRADE,
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
]
GOOD = {
    **UPGRADE,
    "Host": "localhost",
    "Origin": "http://localhost",
    "Sec-WebSocket-Protocol": "chat",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits=12",
}


def ask(server: WebSocketServer, lines: list[bytes]) -> int:
    """The status that a request gets."""
    with dial(server) as client:
        client.send(b"\r\n".join([b"GET /chat HTTP/1.1", *lines, b"", b""]))
        status, headers, _ = client.response()
        assert "x-injected" not in headers
        return status


def lines_with(name: str, value: bytes) -> list[bytes]:
    fields = {key: text.encode() for key, text in GOOD.items()} | {name: value}
    return [key.encode() + b": " + text for key, text in fields.items()]


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADERS)
def test_each_byte_in_each_header_of_the_handshake(
    serve: Serve, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    server = serve(echo, subprotocols=["chat"], trusted_proxies=1, origins=["*"])
    statuses = set()
    good = GOOD.get(name, "").encode()
    for number in range(256):
        byte = bytes([number])
        for value in (byte, good + byte, byte + good, good[:4] + byte + good[4:]):
            statuses.add(ask(server, lines_with(name, value)))
    assert statuses <= {101, 400, 403, 426}
    assert statuses & {101, 426}, "some of these are good, or their line breaks are"
    assert capfd.readouterr().err == ""
    with connect(server.url) as ws:
        ws.send("alive")
        assert ws.receive(5) == "alive"


@pytest.mark.parametrize("number", range(256))
def test_each_byte_in_the_name_of_a_header(
    server: WebSocketServer, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    good = lines_with("Host", b"localhost")
    for line in (b"X%ca: b" % number, b"%ca: b" % number, b"X%c" % number):
        assert ask(server, [*good, line]) in {101, 400}
        assert ask(server, [line, *good]) in {101, 400, 426}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", HEADERS)
def test_two_thousand_headers(server: WebSocketServer, name: str) -> None:
    good = lines_with("Host", b"localhost")
    assert ask(server, good + [name.encode() + b": x"] * 2000) == 431


@pytest.mark.parametrize("filling", [b" ", b"\t", b",", b";", b'"', b"a,", b"a;"])
@pytest.mark.parametrize("name", HEADERS)
def test_headers_made_to_be_parsed_for_ever(
    server: WebSocketServer, name: str, filling: bytes
) -> None:
    """No regular expression runs wild: all of these take no longer than others."""
    value = (filling * 31_000)[:31_000] + b"x"
    started = psutil.Process().cpu_times().user
    assert ask(server, lines_with(name, value)) in {101, 400, 403, 426}
    assert psutil.Process().cpu_times().user - started < 2


# Work that costs the sender nothing


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"p" * 125])
def test_a_hundred_thousand_pings_or_pongs(
    server: WebSocketServer, opcode: Opcode, payload: bytes
) -> None:
    """From a peer that does not read what comes back."""
    client = raw(server)
    (ws,) = (ws for ws in server.sockets if ws.request.headers["host"] == "localhost")
    before, received = greenlets(), ws.bytes_in
    data = frame(opcode, payload) * 10**5
    sending = pour(client, data)
    while ws.bytes_in - received < len(data):
        gevent.sleep(0)
        assert ws.outbox.waiting_bytes < MEBIBYTE
    assert greenlets() <= before + 1  # the one that sends
    sending.get()
    client.send_text("and now?")
    while (got := client.receive()) is not None and got.opcode is PONG:
        assert got.data == payload
    assert got is not None
    assert got.data == b"8 bytes"


@pytest.mark.slow
def test_a_hundred_thousand_messages_start_no_greenlet_each(
    serve: Serve,
) -> None:
    counted: list[int] = []

    def count(ws: WebSocket, message: str | bytes) -> None:
        if message:
            counted.append(greenlets())

    server = serve(on_message=count)
    client = raw(server)
    client.send(frame(TEXT, b"first"))
    eventually(lambda: counted)
    for _ in range(10):
        client.send(frame(TEXT) * 10**4 + frame(TEXT, b"last"))
    eventually(lambda: len(counted) == 11, timeout=30)
    assert max(counted) == counted[0]


# Requests behind requests


HEAD = b"\r\n".join([b"GET / HTTP/1.1", *lines_with("Host", b"localhost"), b"", b""])


def test_frames_in_one_packet_with_the_upgrade(server: WebSocketServer) -> None:
    with dial(server) as client:
        client.send(HEAD + frame(TEXT, b"early") * 100 + frame(CLOSE, b"\x03\xe8"))
        assert client.response()[0] == 101
        for _ in range(100):
            received = client.receive()
            assert received is not None
            assert received.data == b"5 bytes"
        assert client.receive_close() == (1000, "")


def test_a_request_smuggled_behind_an_upgrade(server: WebSocketServer) -> None:
    """It is no request any more: a proxy in front has already stopped looking."""
    opened = server.endpoint.opened
    with dial(server) as client:
        client.send(HEAD + HEAD)
        assert client.response()[0] == 101
        assert client.receive_close()[0] == 1002
        client.receive_eof()
    assert server.endpoint.opened == opened + 1


@pytest.mark.parametrize(
    "extra", [b"Content-Length: 400", b"Transfer-Encoding: chunked"]
)
def test_a_request_smuggled_in_the_body_of_an_upgrade(
    server: WebSocketServer, extra: bytes
) -> None:
    opened = server.endpoint.opened
    with dial(server) as client:
        client.send(HEAD.removesuffix(b"\r\n") + extra + b"\r\n\r\n" + HEAD)
        assert client.response()[0] == 400
        client.sock.shutdown(gevent.socket.SHUT_WR)
        client.receive_eof()
    assert server.endpoint.opened == opened


def test_a_request_behind_a_refused_upgrade_is_not_read(
    server: WebSocketServer,
) -> None:
    opened = server.endpoint.opened
    with dial(server) as client:
        client.send(HEAD.replace(b"13", b"99") + HEAD)
        assert client.response()[0] == 426
        client.receive_eof()
    assert server.endpoint.opened == opened


# What is said back


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n ", b"\n\t", b"\0", b"\x85"])
@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Version"])
def test_line_breaks_in_what_is_reflected(serve: Serve, name: str, end: bytes) -> None:
    """A subprotocol that everybody agrees to must not become a header of the answer."""

    class Everything(list[str]):
        def __contains__(self, item: object) -> bool:
            return True

    server = serve(echo, subprotocols=Everything())
    with dial(server) as client:
        value = GOOD[name].encode() + end + b"X-Injected: 1"
        client.send(
            b"\r\n".join([b"GET / HTTP/1.1", *lines_with(name, value), b"", b""])
        )
        status, headers, body = client.response()
        assert "x-injected" not in headers
        assert status in {101, 400, 426}
        assert b"\n" not in body.removesuffix(b"\n")


# Anything at all


def test_any_bytes_leave_the_server_alive(serve: Serve) -> None:
    server = serve(echo, limits=Limits(close_timeout_s=0.05))

    frames = st.builds(
        frame,
        st.sampled_from(list(Opcode)),
        st.binary(max_size=200),
        fin=st.booleans(),
        rsv1=st.booleans(),
    )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(frames | st.binary(max_size=99), max_size=6), st.booleans())
    def abuse(pieces: list[bytes], upgraded: bool) -> None:
        client = deflating(server) if upgraded else dial(server)
        for piece in pieces:
            pour(client, piece).get()
        client.reset()
        RawClient.opened.remove(client)
        with connect(server.url) as ws:
            ws.send("alive")
            assert ws.receive(5) == "alive"

    abuse()
    eventually(lambda: not server.sockets)
