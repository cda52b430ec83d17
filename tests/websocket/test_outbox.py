"""How an outbox writes, says that it is empty, and ends."""

from __future__ import annotations

import gevent

from gateway.websocket import Message
from tests.support import eventually
from tests.websocket.pipes import Reader, frames


def test_discarding_what_was_not_offered_yet(reader: Reader) -> None:
    reader.outbox.put(Message("dropped"))
    reader.outbox.discard_unsent()
    gevent.sleep(0)
    assert reader.received == b""


def test_nothing_follows_a_seal(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.seal()
    reader.outbox.put(Message("b"))
    gevent.sleep(0)
    assert reader.received == frames("a")


def test_notification_when_all_is_written(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == ["emptied"]
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == ["emptied"] * 2


def test_notification_behind_a_backlog(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("a"))
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == []
    reader.pipe.room = None
    eventually(lambda: reader.said == ["emptied"])


def test_a_broken_connection(reader: Reader) -> None:
    reader.pipe.error = BrokenPipeError("gone")
    reader.outbox.put(Message("a"))
    gevent.sleep(0)
    assert reader.said == ["failed: gone"]


def test_a_connection_that_breaks_with_a_backlog(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("a"))
    gevent.sleep(0)
    reader.pipe.error = ConnectionResetError("reset")
    eventually(lambda: reader.said[:1] == ["failed: reset"])


def test_a_closed_outbox_takes_nothing(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.close()
    reader.outbox.put(Message("b"))
    gevent.sleep(0)
    assert reader.received == b""
