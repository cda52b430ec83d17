"""Who is let in, and who is not: none is forgotten, however it was told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from gateway import reasons
from gateway.websocket import WebSocket
from tests.loadtest.faulty import Cable
from tests.loadtest.patched.conftest import Measure
from tests.websocket.conftest import Serve

CABLE = {"subprotocols": Cable.subprotocols}


class Picky(Cable):
    """Asks ``refuse`` what to do with every third who comes after the speaker."""

    def __init__(self, refuse: Callable[[WebSocket], object]) -> None:
        super().__init__()
        self.refuse = refuse
        self.come = count()

    def subscribed(self, ws: WebSocket) -> None:
        if next(self.come) % 3 == 2:
            self.refuse(ws)
        else:
            super().subscribed(ws)


REFUSALS: dict[str, tuple[Callable[[WebSocket], object], str]] = {
    "silent": (lambda ws: None, ""),
    "rejecting": (
        lambda ws: ws.send('{"type":"reject_subscription"}'),
        "rejected the subscription to ChatChannel",
    ),
    "disconnecting": (
        lambda ws: ws.send('{"type":"disconnect","reason":"unauthorized"}'),
        "refused the connection",
    ),
    "closing": (
        lambda ws: ws.start_close(reasons.UNAUTHORIZED),
        "closed it before we were let in: 1000",
    ),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_who_is_not_let_in_has_failed(measure: Measure, serve: Serve, how: str) -> None:
    refuse, sentence = REFUSALS[how]
    server = serve(Picky(refuse), **CABLE)
    result = measure("fanout", server.url, 8, hold=0.5, rate=10)
    ledger = result["ledger"]
    assert ledger["asked"] == ledger["opened"] == 8
    assert ledger["failed"] == 3
    assert ledger["let_in"] == 5
    assert ledger["dropped"] == 0
    assert ledger["lost"] == 0
    if sentence:
        ((error, times),) = result["errors"].items()
        assert server.url in error
        assert sentence in error
        assert times == 3


def test_who_comes_again_does_not_stand_for_who_never_came(
    measure: Measure, serve: Serve
) -> None:
    server = serve(Picky(lambda ws: None), **CABLE)
    result = measure("churn", server.url, 8, hold=4, rate=10)
    ledger = result["ledger"]
    assert ledger["opened"] > 8
    assert result["counts"]["ready"] >= 8  # so many came in, but not so many users
    assert ledger["let_in"] < 8
    assert ledger["failed"] == 8 - ledger["let_in"]
