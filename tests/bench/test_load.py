"""The load hears what comes, whole, and says so when something does not come."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from bench.dialects import BARE, mark
from bench.load import Crowd, Incomplete
from bench.progress import Progress
from bench.wire import wire_bytes

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@pytest.fixture
def crowd() -> Iterator[tuple[Crowd, socket.socket]]:
    """A client, and the server's end of its connection."""
    cores = os.sched_getaffinity(0)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as thread,
        Crowd(listener.getsockname()[1], BARE) as crowd,
    ):

        def welcome() -> socket.socket:
            sock, _ = listener.accept()
            sock.recv(4096)
            sock.sendall(SWITCHED)
            return sock

        welcoming = thread.submit(welcome)
        crowd.open(1)
        with closing(welcoming.result()) as server:
            yield crowd, server
    os.sched_setaffinity(0, cores)


def text_frame(payload: bytes) -> bytes:
    return bytes((0x81, len(payload))) + payload


def test_a_frame_in_two_pieces_is_one_message(
    crowd: tuple[Crowd, socket.socket],
) -> None:
    clients, server = crowd
    frame = text_frame(b"hello") + text_frame(b"world")
    server.sendall(frame[:9])
    (fd,) = clients.sockets
    assert clients.listen(0.1) == {fd: [b"hello"]}
    server.sendall(frame[9:])
    assert clients.listen(10, enough=bool) == {fd: [b"world"]}


def test_pings_are_answered_and_counted(crowd: tuple[Crowd, socket.socket]) -> None:
    clients, server = crowd
    server.sendall(b"\x89\x02hi" + text_frame(b"hello"))
    (fd,) = clients.sockets
    assert clients.listen(10, enough=bool) == {fd: [b"hello"]}
    assert clients.pings == {fd: 1}
    assert server.recv(100) == b"\x8a\x82\0\0\0\0hi"


def test_too_little_is_incomplete(crowd: tuple[Crowd, socket.socket]) -> None:
    clients, server = crowd
    server.sendall(text_frame(b"hello"))
    with pytest.raises(Incomplete, match="1 sockets heard too little"):
        clients.listen(0.1, enough=lambda heard: len(heard) >= 2)


def test_who_got_more_does_not_hide_who_got_less() -> None:
    """Their bytes add up, so the run goes on; in the end each socket is looked at."""
    progress = Progress([1, 2], first=0)
    frame = text_frame(progress.publish().encode())
    assert len(frame) == wire_bytes(mark(0).encode())
    progress.feed(1, bytearray(frame), len(frame))
    assert not progress.have_come(1)
    progress.feed(1, bytearray(frame[:2]), 2)  # of one that was never published
    progress.feed(2, bytearray(frame[:-2]), len(frame) - 2)
    assert progress.have_come(1)
    with pytest.raises(Incomplete, match="some sockets got more than others"):
        progress.finish()
