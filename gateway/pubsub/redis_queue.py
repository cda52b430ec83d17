"""What is published while Redis is away, kept for when it is back: in order, once."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from gateway.cable.publication import Publication
from gateway.errors import PublicationRefused, PubSubError

__all__ = ["RedisQueue", "Waiting"]

logger = logging.getLogger("gateway.pubsub")

_RETRY_S = 0.1


@dataclass(slots=True)
class Waiting:
    """A message, the name it is known by, and whether Redis may have it already."""

    stream: str
    publication: Publication
    name: str
    tried: bool = False


class RedisQueue:
    """At most ``limit`` messages, which a greenlet sends by ``publish`` when it can."""

    def __init__(self, publish: Callable[[Waiting], None], limit: int) -> None:
        self._publish = publish
        self._limit = limit
        self._waiting: deque[Waiting] = deque()
        self._sender: gevent.Greenlet[..., None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, message: Waiting) -> None:
        """Send it, when all that wait already are sent.

        Raises:
            PubSubError: too many do.
        """
        if len(self._waiting) >= self._limit:
            raise PubSubError(
                f"Redis is gone, and {self._limit} messages wait for it already "
                f"(max_queued): the one for {message.stream!r} is lost"
            )
        self._waiting.append(message)
        if not self._sender:
            self._sender = gevent.spawn(self._send)

    def close(self, timeout_s: float) -> None:
        """Try it once more, for so long; say how many are lost."""
        if self._sender:
            self._sender.kill()
        gevent.with_timeout(timeout_s, self._send_some, timeout_value=None)
        if self._waiting:
            logger.error(
                "%d messages that waited for Redis are lost", len(self._waiting)
            )

    def _send(self) -> None:
        while self._waiting:
            self._send_some()
            gevent.sleep(_RETRY_S)

    def _send_some(self) -> None:
        while self._waiting and self._send_first():
            pass

    def _send_first(self) -> bool:
        """Send the first of them; False if Redis does not take it now."""
        message = self._waiting[0]
        try:
            self._publish(message)
        except PublicationRefused as exc:
            logger.error("lost, for it will never be taken: %s", exc)
        except PubSubError:
            return False
        except Exception:  # those behind it are not to wait for ever
            logger.exception("lost: a message for %r", message.stream)
        self._waiting.popleft()
        return True
