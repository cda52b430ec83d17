"""What a client of the extended protocol has missed: told when it asks for it.

The client says how far it had come. It is told what is kept behind that, all of it or
nothing, and only then what is newer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gateway.cable import messages
from gateway.cable.history import HistoryLost
from gateway.cable.messages import HistoryRequest
from gateway.errors import CommandError, PubSubError

if TYPE_CHECKING:
    from gateway.cable.feeds import Timer
    from gateway.cable.subscription import Subscription

__all__ = ["Recovery"]

logger = logging.getLogger("gateway.cable")

_EXPECTED_S = 5.0
"""How long a restored subscription waits for its client to say where it was."""

_RETRY_S = 0.25
"""How soon the past is asked for again when it could not be known."""


class Recovery:
    """One subscription's, from when it is wanted until it is answered.

    Nobody has asked for that of a subscription that was restored. It waits for its
    client to do so, but not for ever.
    """

    __slots__ = ("_asked_at", "_is_overdue", "_subscription", "_timer", "_wanted")

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._wanted: Any = None
        self._asked_at = 0.0
        self._timer: Timer | None = None
        self._is_overdue = False

    @property
    def is_pending(self) -> bool:
        """Whether the client is to be told the past, or that it cannot be."""
        return self._timer is not None or self._wanted is not None

    def expect(self) -> None:
        """The client is about to ask."""
        self._timer = self._subscription.later(_EXPECTED_S, self._wait_no_longer)

    def ask(self, wanted: Any, asked_at: float) -> None:
        """The client asks; ``wanted`` is its request as it came. May wait.

        None is the request of a client that wants nothing of the past, and no answer.
        """
        self.end()
        if self._is_overdue:
            # It hears what is new by now: the past would come behind it.
            self._subscription.recovery = None
        elif wanted is None:
            self._finish()
        else:
            self._wanted, self._asked_at = wanted, asked_at
            self._answer()

    def end(self) -> None:
        """It does not matter any longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self) -> None:
        subscription = self._subscription
        streams, identifier = subscription.streams, subscription.channel.identifier
        try:
            request = messages.read_as(self._wanted, HistoryRequest, "history")
            streams.catch_up(request, self._asked_at)
            frames = streams.missed(request)
        except PubSubError as exc:
            logger.info("%s: no history yet: %s", subscription.channel, exc)
            self.end()
            self._timer = subscription.later(_RETRY_S, self._try_again)
            return
        except (HistoryLost, CommandError) as exc:
            self._refuse(exc)
        except Exception:
            logger.exception("%s: the past cannot be read", subscription.channel)
            self._refuse("it cannot be read")
        else:
            subscription.hub.replayed += len(frames)
            frames.append(messages.history_confirmation(identifier))
            subscription.send(frames)
        self._finish()

    def _try_again(self) -> None:
        if self._wanted is not None:  # the client may have asked again meanwhile
            self._answer()

    def _wait_no_longer(self) -> None:
        """The client must think of a gap."""
        if self._timer is None:
            return  # it has asked before our turn came
        self._is_overdue = True
        self.end()
        self._refuse("the client did not say in time how far it had come")
        self._subscription.let_on()

    def _refuse(self, why: object) -> None:
        subscription = self._subscription
        subscription.hub.refused += 1
        logger.info("%s: no history: %s", subscription.channel, why)
        identifier = subscription.channel.identifier
        subscription.send([messages.history_rejection(identifier)])

    def _finish(self) -> None:
        self.end()
        self._wanted = None
        self._subscription.recovery = None
        self._subscription.let_on()
