"""Who waits for a subscription is woken when it is live, whatever others do."""

from __future__ import annotations

import gevent
import redis
from redis.connection import Connection

from gateway.pubsub.redis_listener import RedisListener


def nowhere() -> Connection:
    raise redis.ConnectionError("Redis is not there")


def test_who_comes_as_another_gives_up_is_not_forgotten() -> None:
    """In one turn of the loop: the acknowledgement, one who comes, one who goes."""
    listener = RedisListener(
        nowhere, lambda *_: None, lambda _: None, lambda _: None, timeout_s=5.0
    )
    listener.subscribe(b"s")
    goes = gevent.spawn(listener.wait, b"s", 60.0)
    gevent.idle()
    comes = gevent.spawn(listener.wait, b"s", 60.0)
    goes.kill(block=False)
    listener._hear([b"subscribe", b"s", 1])
    assert comes.get(timeout=5.0)
    listener.close()
