"""Reading an HTTP request within limits; gevent's WSGI server has none.

A peer that sends its headers one byte every ten seconds, or a million of them, holds a
greenlet and memory until it is stopped here; so does one that announces a body, gets
its answer, and never sends the rest.
"""

from __future__ import annotations

import logging
from email.parser import Parser
from http import HTTPStatus
from typing import Any

import gevent
from gevent.pywsgi import Input, OldMessage, WSGIHandler

from gateway.websocket.limits import Limits

__all__ = ["BoundedHeadHandler"]

logger = logging.getLogger("gateway.websocket")

_DEFAULT_LIMITS = Limits()
_BLANK = (b"\r\n", b"\n", b"")


class _HeadTooBig(Exception):
    """Names the limit."""


class _Body(Input):
    """What the application leaves of it is read for some time only."""

    __slots__ = ("_handler",)

    def __init__(self, handler: BoundedHeadHandler, body: Any) -> None:
        super().__init__(
            body.rfile, body.content_length, body.socket, body.chunked_input
        )
        self._handler = handler

    def _discard(self) -> None:
        timeout_s = self._handler.limits.body_timeout_s
        try:
            with gevent.Timeout(timeout_s, TimeoutError("body_timeout_s")):
                super()._discard()  # type: ignore[misc]  # not in its stubs
        except TimeoutError:
            self._handler.close_behind_body()


class BoundedHeadHandler(WSGIHandler):
    """A WSGI handler that gives a request's head so much time and so many bytes.

    It uses ``server.limits``, if the server has any.
    """

    requestline: Any
    wsgi_input: Any
    spent_s = 0.0
    """How much of the first head's time a TLS handshake has taken."""
    _deadline: gevent.Timeout | None = None

    @property
    def limits(self) -> Limits:
        """The server's, if it has any of its own."""
        limits: Limits = getattr(self.server, "limits", _DEFAULT_LIMITS)
        return limits

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as exc:  # a refusal that found nobody there
            logger.debug("lost %s: %s", self.client_address, exc)

    def handle_one_request(self) -> Any:
        self.requestline = None
        self._deadline = gevent.Timeout(self.limits.head_timeout_s - self.spent_s)
        self.spent_s = 0.0
        try:
            self._deadline.start()
            return super().handle_one_request()
        except gevent.Timeout as expired:
            if expired is not self._deadline:
                raise
            return self._give_up(408, "head_timeout_s") if self.requestline else None
        finally:
            self._deadline.close()

    def read_request(self, raw_requestline: str) -> Any:
        try:
            return super().read_request(raw_requestline)
        finally:
            assert self._deadline is not None
            self._deadline.close()  # what follows is the application's time

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        given, self.wsgi_input = self.wsgi_input, _Body(self, self.wsgi_input)
        if environ["wsgi.input"] is given:
            environ["wsgi.input"] = self.wsgi_input
        return environ

    def close_behind_body(self) -> None:
        """The rest of the body has not come in time, so no request can follow it."""
        logger.info("closed %s: body_timeout_s", self.client_address)
        self.close_connection = True

    def MessageClass(self, stream: Any, *_: object) -> OldMessage:
        """The headers; gevent's own way of reading them has limits of its own."""
        limits = self.limits
        left = limits.max_head_bytes - len(self.requestline)
        if left < 0:
            raise _HeadTooBig("max_head_bytes")
        lines: list[bytes] = []
        while (line := stream.readline(left + 2)) not in _BLANK:
            left -= len(line)
            if left < 0:
                raise _HeadTooBig("max_head_bytes")
            if len(lines) == limits.max_headers:
                raise _HeadTooBig("max_headers")
            lines.append(line)
        if not line:
            raise ValueError("it ends within its head")
        return Parser(OldMessage).parsestr(b"".join(lines).decode("latin-1"))

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        if isinstance(ex, _HeadTooBig):
            return self._give_up(431, str(ex))
        return self._give_up(400, str(ex) or type(ex).__name__)

    def _give_up(self, status: int, limit: str) -> tuple[str, bytes]:
        logger.info("refused %s: %s", self.client_address, limit)
        phrase = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n"
        return str(status), f"{head}Content-Length: 0\r\n\r\n".encode()
