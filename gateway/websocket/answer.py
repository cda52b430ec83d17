"""A server's answer to an upgrade: 101, or why not, however badly it says so.

Other servers, and what stands in front of them, refuse in HTTP/1.0, with odd headers,
with bodies that are cut or never end. A client that knows the status knows what to do,
so the rest of a refusal is read as far as it helps.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple

import gevent
import gevent.socket

from gateway.errors import HandshakeRefused
from gateway.websocket.dialing import without_secrets

__all__ = ["Answer", "read_answer", "refusal"]

_MAX_HEAD_BYTES = 2**16
_MAX_BODY_BYTES = 2**12
_BODY_S = 1.0
"""How long we wait for an explanation."""
_MAX_EXPLANATION = 200

_BODILESS = (100, 102, 103, 204, 304)
_LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r?\n")


class Answer(NamedTuple):
    """``head`` ends with an empty line; ``rest`` came right behind it."""

    status: int
    phrase: str
    headers: list[tuple[str, str]]
    head: bytes
    rest: bytes


def read_answer(sock: gevent.socket.socket, name: str) -> Answer:
    """Read the head of an answer of the server called ``name``.

    Raises:
        HandshakeRefused: 502, it does not speak HTTP.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(8192)
        if not data:
            if not received:
                why = f"{name} closed the connection, unanswered"
                raise HandshakeRefused(502, why)
            break
        received += data
        if len(received) > _MAX_HEAD_BYTES:
            raise HandshakeRefused(
                502, f"{name} answered with over {_MAX_HEAD_BYTES} bytes of headers"
            )
    head, end, rest = received.partition(b"\r\n\r\n")
    head += end
    line = _STATUS_LINE.match(head)
    if line is None:
        raise HandshakeRefused(502, f"{name} is no HTTP server: {head[:80]!r}")
    fields = [each.partition(":") for each in head.decode("latin-1").splitlines()[1:]]
    headers = [(key.strip(), value.strip()) for key, colon, value in fields if colon]
    phrase = (line[2] or b"").decode("latin-1").strip()
    return Answer(int(line[1]), phrase, headers, head, rest)


def refusal(sock: gevent.socket.socket, answer: Answer, name: str) -> HandshakeRefused:
    """What an answer other than 101 means, in one sentence."""
    status, headers = answer.status, answer.headers
    if 300 <= status < 400:
        where = without_secrets(dict(_lower(headers)).get("location", "nowhere"))
        sentence = f"{name} redirects to {where}, which is not followed: connect there"
        return HandshakeRefused(status, sentence, headers)
    sentence = f"{name} answered {status} {answer.phrase}".rstrip()
    explanation = _explanation(sock, answer)
    if explanation:
        sentence += f": {explanation}"
    return HandshakeRefused(status, sentence, headers)


def _explanation(sock: gevent.socket.socket, answer: Answer) -> str:
    """The beginning of the body, as far as it comes soon and can be read."""
    fields = dict(_lower(answer.headers))
    if answer.status in _BODILESS or "content-encoding" in fields:
        return ""
    length = fields.get("content-length", "")
    size = min(int(length), _MAX_BODY_BYTES) if length.isdecimal() else _MAX_BODY_BYTES
    chunked = "chunked" in fields.get("transfer-encoding", "").lower()
    body = answer.rest
    with suppress(OSError), gevent.Timeout(_BODY_S, TimeoutError("no more came")):
        while len(body) < size and not (chunked and body.endswith(_LAST_CHUNK)):
            if not (data := sock.recv(size - len(body))):
                break
            body += data
    text = _first_chunk(body) if chunked else body[:size]
    return text.decode(errors="replace").strip()[:_MAX_EXPLANATION]


def _first_chunk(body: bytes) -> bytes:
    size, _, data = body.partition(b"\r\n")
    with suppress(ValueError):
        return data[: int(size.partition(b";")[0], 16)]
    return b""


def _lower(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key.lower(), value) for key, value in headers]
