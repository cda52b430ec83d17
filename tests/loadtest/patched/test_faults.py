"""A measuring tool is believed only if it finds what is known to be there: exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway import reasons
from loadtest.lab import Lab
from loadtest.scenarios import Scenario
from loadtest.users import CableUser
from tests.loadtest.faulty import Cable, Fate, Faulty, SocketIO
from tests.loadtest.patched.conftest import Bench, Measure
from tests.websocket.conftest import Serve

READERS = 5
SENT = 8
OPTIONS = {"hold": SENT / 10, "rate": 10}

CABLE = {"subprotocols": Cable.subprotocols}
DIALECTS = {"plain": Faulty, "cable": Cable, "socketio": SocketIO}


def drop(*numbers: int) -> Fate:
    """Some messages reach nobody but the speaker."""
    return lambda text, number, reader: [text] * (number not in numbers or not reader)


def deaf(text: str, number: int, reader: int) -> list[str]:
    """Two hear nothing."""
    return [] if reader in (2, 4) else [text]


def all_at_once() -> Fate:
    """Drops the third message, repeats the fifth, swaps the sixth and seventh."""
    held: dict[int, str] = {}

    def fate(text: str, number: int, reader: int) -> list[str]:
        if number == 6:
            held[reader] = text
        fates = {3: [], 5: [text, text], 6: []}
        if number == 7:
            return [text, held[reader]]
        return fates.get(number, [text])

    return fate


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_is_well(measure: Measure, serve: Serve, dialect: str) -> None:
    kind = DIALECTS[dialect]
    server = serve(kind(), subprotocols=kind.subprotocols)
    result = measure("fanout", server.url, READERS, dialect=dialect, **OPTIONS)
    ledger = result["ledger"]
    assert result["error"] is None
    assert ledger["sent"] == SENT
    assert ledger["expected"] == ledger["received"] == SENT * READERS
    assert result["latencies"]["deliver"]["count"] == SENT * READERS
    assert result["latencies"]["deliver"]["min"] > 0
    assert ("subscribe" in result["latencies"]) == (dialect != "plain")
    mishaps = ("lost", "deaf", "duplicated", "reordered", "stray", "failed", "dropped")
    assert [ledger[name] for name in mishaps] == [0] * len(mishaps)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_losses_repetitions_and_reorderings(
    measure: Measure, serve: Serve, dialect: str
) -> None:
    kind = DIALECTS[dialect]
    server = serve(kind(all_at_once()), subprotocols=kind.subprotocols)
    result = measure("fanout", server.url, READERS, dialect=dialect, **OPTIONS)
    ledger = result["ledger"]
    assert ledger["lost"] == READERS
    assert ledger["duplicated"] == READERS
    assert ledger["reordered"] == READERS
    assert ledger["deaf"] == 0
    # Who comes late has its latency all the same.
    assert result["latencies"]["deliver"]["count"] == (SENT - 1) * READERS


@pytest.mark.parametrize("numbers", [(1,), (SENT,), (1, 2, 3), (SENT - 1, SENT)])
def test_messages_that_reach_nobody(
    measure: Measure, serve: Serve, numbers: tuple[int, ...]
) -> None:
    server = serve(Cable(drop(*numbers)), **CABLE)
    result = measure("fanout", server.url, READERS, **OPTIONS)
    assert result["error"] is None
    assert result["ledger"]["lost"] == len(numbers) * READERS


def test_nobody_hears_anything(measure: Measure, serve: Serve) -> None:
    server = serve(Cable(drop(*range(1, SENT + 1))), **CABLE)
    result = measure("fanout", server.url, READERS, **OPTIONS)
    assert result["ledger"]["lost"] == result["ledger"]["expected"] == SENT * READERS
    assert result["ledger"]["deaf"] == READERS
    assert "nobody heard any of them" in result["error"]


def test_some_hear_nothing(measure: Measure, serve: Serve) -> None:
    server = serve(Cable(deaf), **CABLE)
    result = measure("fanout", server.url, READERS, **OPTIONS)
    assert result["ledger"]["lost"] == 2 * SENT
    assert result["ledger"]["deaf"] == 2
    assert result["error"] is None


def test_some_hear_nothing_and_are_dropped(measure: Measure, serve: Serve) -> None:
    class Deaf(Cable):
        def tell(self, message: str) -> None:
            super().tell(message)
            for ws, number in self.numbers.items():
                if number in (2, 4):
                    ws.start_close(reasons.NORMAL)

    server = serve(Deaf(deaf), **CABLE)
    result = measure("fanout", server.url, READERS, **OPTIONS)
    assert result["ledger"]["dropped"] == 2
    assert result["ledger"]["lost"] == 2 * SENT


def test_one_room_of_many_is_deaf(measure: Measure, serve: Serve) -> None:
    def fate(text: str, number: int, reader: int) -> list[str]:
        assert text.startswith("@@r")
        return [] if text.startswith("@@r2:") and reader else [text]

    server = serve(Cable(fate), **CABLE)
    options = {**OPTIONS, "room_count": 4}
    result = measure("rooms", server.url, 8, **options)
    assert result["ledger"]["sent"] == 4 * SENT
    assert result["ledger"]["lost"] == 2 * SENT  # two are in that room
    assert result["ledger"]["deaf"] == 2


def test_another_run_on_the_same_server_is_told_apart(
    bench: Callable[..., Bench], serve: Serve
) -> None:
    url = serve(Cable(), **CABLE).url
    runs = [bench(users, url, READERS, **OPTIONS) for users in (One, Other)]
    for run in runs:
        run.start()
    for run in runs:
        result = run.finish()
        assert result["ledger"]["expected"] == SENT * READERS
        assert result["ledger"]["received"] == SENT * READERS
        assert result["ledger"]["duplicated"] == result["ledger"]["stray"] == 0
        assert result["latencies"]["rtt"]["count"] == SENT
    assert "messages of another run were heard" in result["notes"][0]


class One(CableUser):
    """Hears what is said to all."""

    lab = Lab(Scenario("same", "…"), rooms=lambda options: ["same"])


class Other(CableUser):
    """The same, of somebody else."""

    lab = Lab(Scenario("same", "…"), rooms=lambda options: ["same"])
