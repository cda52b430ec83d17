"""Latencies count from when something should have been; who is late is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

import gevent

from gateway.websocket import WebSocket
from loadtest.slo import parse
from loadtest.verdict import invalid
from tests.loadtest.faulty import Cable, Faulty
from tests.loadtest.patched.conftest import Bench, Measure
from tests.support import eventually
from tests.websocket.conftest import Serve

CABLE = {"subprotocols": Cable.subprotocols}

Make = Callable[..., Bench]


def block(seconds: float) -> None:
    """Do something for so long that no greenlet but this one can run."""
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


class Slow(Cable):
    """Delivers ``rate`` messages a second, however many there are."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.waiting: deque[tuple[WebSocket, str]] = deque()

    def tell(self, message: str) -> None:
        self.waiting += [(ws, message) for ws in self.readers]

    def pump(self) -> None:
        begin, told = perf_counter(), 0
        while True:
            gevent.sleep(0.01)
            while self.waiting and told < (perf_counter() - begin) * self.rate:
                ws, message = self.waiting.popleft()
                told += 1
                if ws.close_reason is None:
                    ws.send(self.wrap(message))
            if not self.waiting:
                begin, told = perf_counter(), 0


def test_what_comes_behind_is_late_and_neither_lost_nor_throughput(
    measure: Measure, serve: Serve
) -> None:
    slow = Slow(rate=100)  # of 5 × 40 and the speaker's 40 a second
    pump = gevent.spawn(slow.pump)
    result = measure("fanout", serve(slow, **CABLE).url, 5, hold=1, rate=40)
    pump.kill()
    assert result["ledger"]["lost"] == 0
    assert result["ledger"]["received"] == 200
    assert 0 < result["throughput"] <= 100
    assert result["latencies"]["deliver"]["max"] > 1000
    assert result["notes"] == []


def test_messages_that_still_come_when_nobody_waits_any_longer_are_named(
    measure: Measure, serve: Serve
) -> None:
    slow = Slow(rate=50)
    pump = gevent.spawn(slow.pump)
    options = {"hold": 1, "rate": 40, "drain": 1}
    result = measure("fanout", serve(slow, **CABLE).url, 5, **options)
    pump.kill()
    assert result["ledger"]["lost"] > 0
    assert "messages still came 1 s after the last was sent" in result["notes"][0]


def test_as_many_messages_as_the_rate_says(measure: Measure, serve: Serve) -> None:
    result = measure("fanout", serve(Cable(), **CABLE).url, 3, hold=2, rate=10)
    assert result["ledger"]["sent"] == 20
    assert 0 < result["throughput"] <= 30


def test_there_is_a_row_for_every_second_though_nothing_happens(
    measure: Measure, serve: Serve
) -> None:
    result = measure("idle", serve(Cable(), **CABLE).url, 3, hold=3)
    phases, rows = result["phases"], result["series"]
    seconds = [row["second"] for row in rows]
    assert seconds == list(range(int(phases["start"]), int(phases["end"]) + 1))
    assert [row["sockets"] for row in rows[1:]] == [3] * (len(rows) - 1)


def test_a_ramp_is_as_long_as_was_asked(bench: Make, serve: Serve) -> None:
    url = serve(Cable(), **CABLE).url
    made = bench("fanout", url, 10, hold=3, rate=10)
    made.lab.options.ramp = True
    made.lab.options.spawn_rate = 5  # so the last comes after two seconds
    made.start()
    result = made.finish()
    assert result["ledger"]["let_in"] == 10
    assert result["ledger"]["sent"] == 30
    assert result["ledger"]["lost"] == 0
    assert result["ledger"]["expected"] < 300  # who came later is owed less


def test_a_generator_that_stood_still_knows_it(bench: Make, serve: Serve) -> None:
    made = bench("fanout", serve(Cable(), **CABLE).url, 3, hold=3, rate=10)
    made.start()
    eventually(lambda: made.lab.measuring)
    block(1.2)
    result = made.finish()
    assert result["latencies"]["lag"]["max"] > 1000
    assert result["ledger"]["late"] >= 10
    assert result["latest_send_s"] > 1
    reasons = "; ".join(invalid(result, parse("p99<250ms")))
    assert "messages were sent late" in reasons
    assert "a message was sent 1." in reasons
    assert "p99<250ms was missed, by no more than the generator's own lag" in reasons
    assert "the generator was late by" in reasons


def test_connecting_counts_from_the_slot(bench: Make, serve: Serve) -> None:
    made = bench("idle", serve(Cable(), **CABLE).url, 20, hold=0.5)
    made.start()  # 20 in 0.2 s
    block(0.4)
    result = made.finish()
    assert result["counts"]["opened_late"] >= 15
    assert result["latencies"]["connect"]["p50"] > 150
    assert "of 20 sockets were opened late" in "; ".join(invalid(result, ()))


def test_echoes_count_from_when_they_should_have_been_sent(
    measure: Measure, serve: Serve
) -> None:
    def sluggish(ws: WebSocket) -> None:
        for number, text in enumerate(ws):
            if number == 2:
                gevent.sleep(0.5)
            ws.send(text)

    url = serve(sluggish).url
    result = measure("echo", url, 2, hold=2, rate=10, dialect="plain")
    rtt = result["latencies"]["rtt"]
    assert rtt["max"] > 480
    assert 36 <= result["ledger"]["sent"] <= 44
    # The four that were to be sent meanwhile have waited, too: 10 of 40 are late.
    assert rtt["p90"] > 250
    assert result["counts"]["behind"] >= 2 * 3
    assert result["ledger"]["late"] == 0  # it is not our fault
    assert result["ledger"]["lost"] == 0


def test_an_answer_that_never_comes_is_lost(measure: Measure, serve: Serve) -> None:
    def forgetful(ws: WebSocket) -> None:
        for number, text in enumerate(ws):
            if number != 2:
                ws.send(text)

    url = serve(forgetful).url
    result = measure("echo", url, 3, hold=1, rate=10, dialect="plain")
    assert result["ledger"]["sent"] == 3 * 3
    assert result["ledger"]["lost"] == 3


def test_a_second_start_is_measured_afresh(bench: Make, serve: Serve) -> None:
    faulty = Faulty(lambda text, number, reader: [text] * (reader != 2))
    made = bench("fanout", serve(faulty).url, 3, hold=1, rate=10, dialect="plain")
    made.start()
    assert made.finish()["ledger"]["lost"] == 10
    eventually(lambda: made.runner.state == "stopped")
    faulty.fate = lambda text, number, reader: [text]
    made.sockets = 4
    made.start()
    result = made.finish()
    assert result["ledger"]["asked"] == result["ledger"]["opened"] == 4
    assert result["ledger"]["expected"] == result["ledger"]["received"] == 40
    assert result["latencies"]["deliver"]["count"] == 40
