"""The access log: a line in ``gateway.access`` (INFO) for each socket that has closed.

Only sockets that open while that logger is on count their messages, so that whoever
does not ask for the log does not pay for it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from functools import lru_cache
from time import monotonic
from typing import Any

from gateway.reasons import CloseReason
from gateway.websocket.outbox import Outbox
from gateway.websocket.socket import WebSocket

__all__ = ["LoggedWebSocket", "socket_class"]

logger = logging.getLogger("gateway.access")

_FIN = 0x80
_OPCODE = 0x0F
_FIRST_CONTROL = 0x8
_EXTENDED = {126: 2, 127: 8}
"""How many bytes of length follow such a length (RFC 6455 §5.2)."""


def socket_class() -> type[WebSocket]:
    """What a new socket of a server is to be."""
    return LoggedWebSocket if logger.isEnabledFor(logging.INFO) else WebSocket


class CountingOutbox(Outbox):
    """Knows how many messages it was given."""

    __slots__ = ("messages_out",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.messages_out = 0

    def take(self, frames: bytes, key: Hashable = None) -> None:
        self.messages_out += _messages(frames)
        super().take(frames, key)


class LoggedWebSocket(WebSocket):
    """A socket that leaves a line behind."""

    __slots__ = ("_address", "_messages_in", "_opened_at", "_path")

    outbox_class = CountingOutbox
    outbox: CountingOutbox

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = self.remote_address
        self._path = self.path
        self._opened_at = monotonic()
        self._messages_in = 0

    def _feed(self, data: bytes) -> None:
        before = self._endpoint.messages_in
        super()._feed(data)
        self._messages_in += self._endpoint.messages_in - before

    def _finish(self, reason: CloseReason) -> None:
        if self.closed:
            return
        super()._finish(reason)
        why = self.close_reason or reason
        logger.info(
            "%s %r protocol=%s seconds=%.3f messages_in=%d messages_out=%d "
            "bytes_in=%d bytes_out=%d reason=%s code=%d",
            self._address or "-",
            self._path,
            self.subprotocol or "-",
            monotonic() - self._opened_at,
            self._messages_in,
            self.outbox.messages_out,
            self.bytes_in,
            self.outbox.bytes_out,
            why.name,
            why.code,
        )


@lru_cache(maxsize=1)  # of a broadcast, for which all readers ask
def _messages(data: bytes) -> int:
    """How many messages are in whole frames of ours; in an HTTP answer, none."""
    count = at = 0
    while at < len(data) and data[at] & _FIN:
        count += data[at] & _OPCODE < _FIRST_CONTROL
        size, at = data[at + 1], at + 2
        extended = _EXTENDED.get(size, 0)
        if extended:
            size = int.from_bytes(data[at : at + extended], "big")
        at += extended + size
    return count
