"""``gateway connect``: in a pipe, at a terminal, and where it cannot."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gevent
import gevent.socket
import pytest
from click.testing import CliRunner, Result
from gevent.server import StreamServer

from gateway.cli import cli
from gateway.websocket import WebSocket
from tests.cli.conftest import Start
from tests.support import eventually
from tests.support.program import Program, Terminal
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, echo

in_a_process = pytest.mark.process


# In a pipe


@in_a_process
def test_lines_are_sent_and_answers_printed(serve: Serve, gateway: Start) -> None:
    program = gateway("connect", serve(echo).url)
    program.say("one\n")
    eventually(lambda: program.output == "one\n")
    program.say("né\n\nthree\nno newline".encode())
    program.end_input()
    assert program.wait() == 0
    assert program.output == "one\nné\n\nthree\nno newline\n"
    assert program.errors == ""


@in_a_process
def test_input_that_is_not_utf_8(serve: Serve, gateway: Start) -> None:
    program = gateway("connect", serve(echo).url, "--linger", "0.5")
    program.say(b"caf\xe9\n")
    program.end_input()
    assert program.wait() == 0
    assert program.output == "caf\N{REPLACEMENT CHARACTER}\n"
    assert program.errors == ""


@in_a_process
def test_it_waits_for_answers_until_it_is_silent(serve: Serve, gateway: Start) -> None:
    def count(ws: WebSocket) -> None:
        assert ws.receive() == "go"
        for number in range(4):
            gevent.sleep(0.3)  # longer in all than it lingers
            ws.send(number.to_bytes(2, "big"))
        codes.extend(["open", *ws, ws.close_code])

    codes: list[object] = []
    program = gateway("connect", serve(count).url, "--linger", "1")
    program.say("go\n")
    program.end_input()
    assert program.wait() == 0
    assert program.output == "".join(f"binary: 00 0{number}\n" for number in range(4))
    eventually(lambda: codes == ["open", 1000])


@in_a_process
def test_silence_does_not_end_it_before_its_input_does(
    serve: Serve, gateway: Start
) -> None:
    program = gateway("connect", serve(echo).url, "--linger", "0.05")
    program.say("one\n")
    eventually(lambda: program.output == "one\n")
    gevent.sleep(0.3)  # nothing shall happen, so there is nothing to wait for
    program.say("two\n")
    eventually(lambda: program.output == "one\ntwo\n")
    program.end_input()
    assert program.wait() == 0


@in_a_process
@pytest.mark.parametrize(
    ("code", "exit_code"), [(1000, 0), (1001, 0), (1011, 1), (4001, 1), (None, 1)]
)
def test_it_ends_with_the_connection(
    serve: Serve, gateway: Start, code: int | None, exit_code: int
) -> None:
    def end(ws: WebSocket) -> None:
        ws.send("last words")
        gevent.sleep(0)  # the end of the turn: they are written
        if code is None:
            ws.abort()
        else:
            ws.close(code)

    program = gateway("connect", serve(end).url)  # its input is open still
    assert program.wait() == exit_code
    assert program.output == "last words\n"
    assert program.errors == ""


@in_a_process
def test_what_cannot_be_sent_any_more(serve: Serve, gateway: Start) -> None:
    program = gateway("connect", serve(lambda ws: ws.receive()).url)
    program.say("a line\n" * 5_000)
    assert program.wait() == 0
    assert program.errors == ""


@in_a_process
def test_it_can_be_interrupted(serve: Serve, gateway: Start) -> None:
    program = gateway("connect", serve(echo).url)
    program.say("hi\n")
    eventually(lambda: program.output == "hi\n")
    program.send_signal(signal.SIGINT)
    assert program.wait() == 1
    assert program.errors.strip() == "Aborted!"


class Deaf(Program):
    """A command whose input is closed from the start: ``<&-`` in a shell."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(
            folder, *arguments, stdin=None, preexec_fn=partial(os.close, 0)
        )


@in_a_process
def test_without_any_input(
    serve: Serve, gateway: Callable[..., Deaf], tmp_path: Path
) -> None:
    server = serve(lambda ws: (ws.send("hi"), [*ws]))
    program = gateway("connect", server.url, "--linger", "0.5", kind=Deaf)
    assert program.wait() == 0
    assert program.output == "hi\n"
    assert program.errors == ""


@in_a_process
def test_how_large_a_message_may_be(serve: Serve, gateway: Start) -> None:
    url = serve(lambda ws: ws.send("x" * 2**21), compression=False).url
    program = gateway("connect", url)
    assert program.wait() == 0
    assert program.output == "x" * 2**21 + "\n"
    program = gateway("connect", url, "--max-message-bytes", "2097151")
    assert program.wait() == 1
    assert program.output == ""
    assert "message_too_big: message over 2097151 bytes" in program.errors


@in_a_process
def test_what_is_sent_along(serve: Serve, gateway: Start) -> None:
    def tell(ws: WebSocket) -> None:
        names = ("x-token", "x-empty", "origin", "sec-websocket-extensions")
        ws.send(f"{ws.path} {ws.subprotocol} {[ws.headers.get(n) for n in names]}")

    program = gateway(
        "connect",
        serve(tell, subprotocols=["chat.v1"]).url + "/news?page=1",
        *("-H", "X-Token: se:cret", "--header", "X-Empty:"),
        *("-s", "chat.v2", "--subprotocol", "chat.v1"),
        *("--origin", "https://app.net", "--no-compression"),
    )
    assert program.wait() == 0
    expected = ["se:cret", "", "https://app.net", None]
    assert program.output == f"/news chat.v1 {expected}\n"


@in_a_process
def test_certificates_can_be_taken_as_they_are(
    serve: Serve, gateway: Start, certificate: Certificate
) -> None:
    server = serve(lambda ws: ws.send("hi"), ssl_context=certificate.server())
    program = gateway("connect", "--insecure", server.url)
    assert program.wait() == 0
    assert program.output == "hi\n"


# At a terminal


Sit = Callable[..., Terminal]


@in_a_process
def test_a_conversation(serve: Serve, terminal: Sit) -> None:
    server = serve(echo)
    screen = terminal("connect", server.url)
    hello = f"Connected to {server.url}. End with Ctrl-D.\n"
    eventually(lambda: screen.screen == hello)
    screen.type("hi\n")
    eventually(lambda: screen.screen == f"{hello}hi\n< hi\n")
    (ws,) = server.sockets
    ws.send(b"\x01\xff")
    eventually(lambda: screen.screen.endswith("< binary: 01 ff\n"))
    screen.type("\x04")
    assert screen.wait() == 0
    assert screen.screen.endswith("Disconnected: 1000.\n")


@in_a_process
def test_a_conversation_that_the_server_ends(serve: Serve, terminal: Sit) -> None:
    server = serve(lambda ws: ws.close(4001) if ws.receive() else None)
    screen = terminal("connect", server.url)
    eventually(lambda: "Ctrl-D" in screen.screen)
    screen.type("hi\n")
    assert screen.wait() == 1
    assert screen.screen.endswith("\nhi\nDisconnected: 4001.\n")


@in_a_process
def test_a_conversation_that_is_interrupted(serve: Serve, terminal: Sit) -> None:
    codes: list[int | None] = []
    server = serve(on_close=lambda ws: codes.append(ws.close_code))
    screen = terminal("connect", server.url)
    eventually(lambda: "Ctrl-D" in screen.screen)
    screen.type("\x03")
    assert screen.wait() == 0
    assert screen.screen.endswith("Disconnected: 1000.\n")
    eventually(lambda: codes == [1000])


@in_a_process
def test_a_long_message_is_printed_whole(serve: Serve, terminal: Sit) -> None:
    """Longer than a terminal takes at once."""
    server = serve(echo)
    screen = terminal("connect", server.url)
    eventually(lambda: server.sockets)
    (ws,) = server.sockets
    ws.send("long " * 50_000)
    eventually(lambda: screen.screen.endswith("< " + "long " * 50_000 + "\n"))
    screen.type("\x04")
    assert screen.wait() == 0


# Where it cannot


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["connect", *arguments])


def assert_one_sentence(result: Result, *parts: str) -> None:
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    for part in parts:
        assert part in result.output


def test_nobody_there(tmp_path: Path) -> None:
    with gevent.socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        assert_one_sentence(run(url), f"cannot connect to {url}: Connection refused")
    url = f"ws+unix://{tmp_path / 'nobody'}"
    assert_one_sentence(run(url), f"cannot connect to {url}: No such file")


def test_a_server_that_dawdles() -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: gevent.sleep(9))
    server.start()
    url = f"ws://127.0.0.1:{server.server_port}/chat"
    result = run(f"{url}?token=secret", "--timeout", "0.05")
    assert result.output == f"Error: {url} did not open in 0.05 s\n"
    assert result.exit_code == 1
    server.stop()


@pytest.mark.parametrize("url", ["nonsense", "http://localhost/", "ws://localhost:x"])
def test_urls_that_cannot_be_used(url: str) -> None:
    assert_one_sentence(run(url), "write ws://host:port/path")


def test_a_server_that_refuses(serve: Serve) -> None:
    server = serve(echo, origins=["https://app.net"])
    result = run(server.url, "--origin", "https://evil.net")
    assert_one_sentence(result, "403 Forbidden", server.url, "This origin may not")


def test_a_certificate_that_is_no_good(serve: Serve, certificate: Certificate) -> None:
    server = serve(echo, ssl_context=certificate.server())
    assert_one_sentence(run(server.url), server.url, "certificate verify failed")


def test_options_that_cannot_be_used(serve: Serve) -> None:
    for options in (
        ["--header", "no colon"],
        ["--linger", "-1"],
        ["--timeout", "0"],
        ["--max-message-bytes", "0"],
    ):
        result = run("ws://localhost", *options)
        assert result.exit_code == 2
        assert options[0] in result.output
    assert_one_sentence(run(serve(echo).url, "-H", "X: a\nEvil: b"), "line break")
