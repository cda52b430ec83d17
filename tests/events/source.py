"""A client of ``/cable/events``, reading event by event."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from gevent.socket import create_connection

from tests.support.app import Served

__all__ = ["Event", "Events", "ask", "listening", "refused"]

Event = dict[str, str]


class Events:
    """One answer of ``/cable/events``, read event by event."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer

    def next(self) -> Event:
        """The next event that is not just a comment."""
        event: Event = {}
        while line := self.answer.readline().decode():
            if line.startswith(":"):
                continue
            if line == "\n" and event:
                return event
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "data" and "data" in event:
                value = f"{event['data']}\n{value}"
            if field:
                event[field] = value
        raise AssertionError("the server has ended it")

    def until(self, kind: str) -> Event:
        """The next event of that name; those before it are passed over."""
        while (event := self.next()).get("event") != kind:
            pass
        return event

    @property
    def over(self) -> bool:
        """Whether the server has ended it, after what was read."""
        return self.answer.read() == b""


@contextmanager
def ask(
    served: Served,
    method: str = "GET",
    body: str | None = None,
    headers: dict[str, str] | None = None,
    **query: str,
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request for events."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.sock = create_connection(("127.0.0.1", served.port), timeout=10)
    connection.request(
        method, f"/cable/events?{urlencode(query)}", body, headers=headers or {}
    )
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


@contextmanager
def listening(
    served: Served,
    headers: dict[str, str] | None = None,
    body: str | None = None,
    **query: str,
) -> Iterator[Events]:
    """The event stream, once it has said that we are subscribed."""
    method = "GET" if body is None else "POST"
    with ask(served, method, body, headers, **query) as answer:
        assert answer.status == 200, answer.read()
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        yield Events(answer)


def refused(
    served: Served,
    headers: dict[str, str] | None = None,
    body: str | None = None,
    **query: str,
) -> str:
    """Status and text of an answer that is no event stream."""
    method = "GET" if body is None else "POST"
    with ask(served, method, body, headers, **query) as answer:
        return f"{answer.status} {answer.read().decode()}"
