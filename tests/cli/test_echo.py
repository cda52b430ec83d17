"""``gateway echo``: starting, echoing, ending."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.cli.echo import _address
from gateway.websocket import connect
from tests.cli.conftest import Start
from tests.support import eventually
from tests.support.program import Program
from tests.websocket.conftest import Serve, echo

in_a_process = pytest.mark.process


def url(program: Program) -> str:
    """Where it says it is."""
    line = eventually(lambda: program.output.splitlines() or program.process.poll())
    assert line, program.errors
    return str(line[0]).removeprefix("Echoing at ")


@in_a_process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_echoes_until_it_is_told_to_stop(
    gateway: Start, number: signal.Signals
) -> None:
    program = gateway("echo", "--bind", "127.0.0.1:0")
    with connect(url(program)) as ws:
        for message in ["hi", b"binary", "x" * 70_000]:
            ws.send(message)
            assert ws.receive(5) == message
        assert ws.outbox.encoding == 16 + 12  # compressed
        program.send_signal(number)
        assert ws.wait_closed(5)
        assert ws.close_code == 1001
    assert program.wait() == 0
    assert program.errors == ""


@in_a_process
def test_on_a_unix_socket(gateway: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    program = gateway("echo", "--bind", f"unix:{path}")
    assert url(program) == f"ws+unix://{path}"
    with connect(url(program)) as ws:
        ws.send("hi")
        assert ws.receive(5) == "hi"
    program.send_signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not path.exists()


@in_a_process
def test_its_options(gateway: Start) -> None:
    options = ("--bind", ":0", "--max-message-bytes", "10", "--no-compression")
    program = gateway("echo", *options)
    assert url(program).startswith("ws://127.0.0.1:")
    with connect(url(program)) as ws:
        assert ws.outbox.encoding == 16  # not compressed
        ws.send("x" * 10)
        assert ws.receive(5) == "x" * 10
        ws.send("x" * 11)
        assert ws.wait_closed(5)
        assert ws.close_code == 1009
    eventually(lambda: "message_too_big" in program.errors)


def run(*options: str) -> Result:
    return CliRunner().invoke(cli, ["echo", *options])


@in_a_process
def test_an_address_that_is_taken(serve: Serve, gateway: Start, tmp_path: Path) -> None:
    tcp, unix = serve(echo), serve(echo, address=f"unix:{tmp_path / 'socket'}")
    for server, why in [(tcp, "Address already in use"), (unix, "another server is")]:
        bind = server.url.removeprefix("ws://").replace("ws+unix://", "unix:")
        program = gateway("echo", "--bind", bind)
        assert program.wait() == 1
        assert program.errors.startswith(f"Error: cannot listen at {bind}: {why}")
        assert len(program.errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no/such/folder", "No such file or directory"),
        ("file", "is there already, and is no socket"),
        ("x" * 200, "AF_UNIX path too long"),
    ],
)
def test_a_path_that_cannot_be_used(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "file").touch()
    result = run("--bind", f"unix:{tmp_path / path}")
    assert result.exit_code == 1
    assert why in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    "bind",
    ["nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", ":65536", ":²", "unix:"],
)
def test_addresses_that_are_none(bind: str) -> None:
    result = run("--bind", bind)
    assert result.exit_code == 2
    assert f"'{bind}' is not HOST:PORT" in result.output


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("localhost:80", ("localhost", 80)),
        (":65535", ("127.0.0.1", 65535)),
        ("[::1]:0", ("::1", 0)),
        ("unix:socket", "unix:socket"),
        ("unix:a:1", "unix:a:1"),
    ],
)
def test_addresses(bind: str, address: object) -> None:
    assert _address(bind) == address


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_sizes_that_are_none(size: str) -> None:
    result = run("--max-message-bytes", size)
    assert result.exit_code == 2
    assert "--max-message-bytes" in result.output
