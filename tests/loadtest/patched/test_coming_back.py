"""Who leaves, comes back, or is dropped: what it was owed is known."""

from __future__ import annotations

import json

import gevent
import pytest

from gateway import reasons
from gateway.websocket import Message, WebSocket
from loadtest.scenarios import SCENARIOS
from tests.loadtest.faulty import Cable
from tests.loadtest.patched.conftest import Measure
from tests.websocket.conftest import Serve

CABLE = {"subprotocols": Cable.subprotocols}
FAULTS = ("lost", "deaf", "duplicated", "reordered", "stray", "failed", "dropped")


@pytest.mark.parametrize("scenario", ["churn", "storm"])
def test_who_comes_back_hears_everything(
    measure: Measure, serve: Serve, scenario: str
) -> None:
    server = serve(Cable(), **CABLE)
    result = measure(scenario, server.url, 5, hold=4, rate=20)
    ledger = result["ledger"]
    assert result["error"] is None
    assert ledger["opened"] > 5
    assert ledger["received"] > 0
    assert {name: ledger[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    if scenario == "storm":
        assert result["latencies"]["back"]["count"] == result["counts"]["cut"]
        assert result["counts"]["cut"] == 5 * (80 // SCENARIOS["storm"].cut_every)


@pytest.mark.parametrize("scenario", ["churn", "storm"])
def test_who_comes_back_and_hears_nothing_is_missed(
    measure: Measure, serve: Serve, scenario: str
) -> None:
    server = serve(Cable(lambda text, number, reader: [text] * (reader <= 5)), **CABLE)
    result = measure(scenario, server.url, 5, hold=5, rate=20)
    ledger = result["ledger"]
    assert ledger["received"] > 0
    assert ledger["deaf"] >= 5
    assert ledger["lost"] > 5 * 10


def test_losses_right_after_coming_back_are_found(
    measure: Measure, serve: Serve
) -> None:
    class Late(Cable):
        """Tells who has come back nothing of the next two messages."""

        def __init__(self) -> None:
            super().__init__()
            self.untold: dict[WebSocket, int] = {}
            self.fate = self.untold_first

        def subscribed(self, ws: WebSocket) -> None:
            super().subscribed(ws)
            if len(self.numbers) > 5:
                self.untold[ws] = 2

        def untold_first(self, text: str, number: int, reader: int) -> list[str]:
            (ws,) = (each for each, its in self.numbers.items() if its == reader)
            self.untold[ws] = left = self.untold.get(ws, 0) - 1
            return [text] * (left < 0)

    server = serve(Late(), **CABLE)
    result = measure("storm", server.url, 5, hold=1.8, rate=10)
    assert result["counts"]["cut"] == 5  # by the tenth of 18
    assert result["ledger"]["lost"] == 10
    assert result["ledger"]["deaf"] == 0


def test_a_reader_who_is_dropped_is_owed_the_rest(
    measure: Measure, serve: Serve
) -> None:
    class Dropping(Cable):
        def tell(self, message: str) -> None:
            super().tell(message)
            if ":5:" in message:
                for ws, number in self.numbers.items():
                    if number == 3:
                        ws.start_close(reasons.TOO_SLOW)

    server = serve(Dropping(), **CABLE)
    result = measure("fanout", server.url, 5, hold=1, rate=10)
    assert result["ledger"]["dropped"] == 1
    assert result["ledger"]["lost"] == 5
    assert result["errors"] == {"socket: dropped: 1008 closed_by_peer": 1}


class Remembering(Cable):
    """Says all that is new four times a second, in one packet, and from any offset."""

    subprotocols = ("actioncable-v1-ext-json",)

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.told: dict[WebSocket, int] = {}  # and how far each was

    def said(self, ws: WebSocket, text: str) -> str | None:
        command = json.loads(text)
        if command["command"] == "message":
            return super().said(ws, text)
        place = command.get("history", {}).get("streams", {}).get("s")
        self.told[ws] = len(self.kept) if place is None else place["offset"]
        self.subscribed(ws)
        return None

    def tell(self, message: str) -> None:
        place = {"stream_id": "s", "epoch": "e", "offset": len(self.kept) + 1}
        self.kept.append(json.dumps({"message": message, **place}))

    def pump(self) -> None:
        while True:
            gevent.sleep(0.25)
            for ws in list(self.readers):
                told, self.told[ws] = self.told[ws], len(self.kept)
                for message in self.kept[told:]:
                    ws.send_message(Message(message))  # they leave together


def test_who_is_cut_off_in_the_middle_of_a_packet_asks_for_the_rest(
    measure: Measure, serve: Serve
) -> None:
    server = Remembering()
    pump = gevent.spawn(server.pump)
    url = serve(server, subprotocols=server.subprotocols).url
    result = measure("resume", url, 5, hold=3, rate=40)
    pump.kill()
    assert result["counts"]["cut"] >= 5
    assert result["ledger"]["received"] > 0
    assert {name: result["ledger"][name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
