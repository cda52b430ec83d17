"""The cable as Server-Sent Events, for ``curl`` and for proxies that break WebSockets.

    curl -N 'http://127.0.0.1:8000/cable/events?channel=ChatChannel&room_id=lobby'

Read only; the same channels and the same ``connect``. A browser's ``EventSource`` that
comes back with the ``id`` of the last event in ``Last-Event-ID`` is told what it
missed.
"""

from gateway.events.asking import MAX_BODY_BYTES, Asked, in_body, in_query
from gateway.events.stream import HEADERS, EventStream

__all__ = [
    "HEADERS",
    "MAX_BODY_BYTES",
    "Asked",
    "EventStream",
    "in_body",
    "in_query",
]
