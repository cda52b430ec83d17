"""One run, from the first arrival to the ledger.

It has three phases: all arrive; then the speaker speaks, and everything is measured;
then what is under way may come in, for as long as something does.
"""

from __future__ import annotations

import secrets
import traceback
from time import monotonic, time
from typing import TYPE_CHECKING

import gevent

from gateway.errors import GatewayError
from loadtest.crew import Crew
from loadtest.failures import explain
from loadtest.ledger import Ledger, Speech
from loadtest.record import Record
from loadtest.speaker import Speaker

if TYPE_CHECKING:
    from loadtest.lab import Lab

__all__ = ["Run"]

_POLL_S = 0.1
_ARRIVAL_PATIENCE_S = 30.0
_DRAIN_PATIENCE_S = 5.0
_AUDIT_EVERY_S = 0.5


class _Ended(Exception):
    """The run cannot go on; says why."""


class Run:
    """Conducts a run of ``asked`` sockets; what it found is in its fields.

    ``error`` is why it ended before its end, in a sentence; ``notes`` are what a reader
    of the figures must know.
    """

    def __init__(self, lab: Lab, crew: Crew, asked: int, arrival_rate: float) -> None:
        self.record = Record()
        self.ledger = Ledger()
        self.phases = {"start": time()}
        self.asked, self.arrival_rate = asked, arrival_rate
        self.error: str | None = None
        self.notes: list[str] = []
        self.speaker: Speaker | None = None
        self._lab, self._crew = lab, crew
        crew.begin(1 + secrets.randbelow(2**31), arrival_rate)

    @property
    def phase(self) -> str:
        """The one it is in."""
        return list(self.phases)[-1]

    @property
    def sent(self) -> int:
        """Messages sent until now."""
        if self.speaker is not None:
            return self.speaker.sent
        return self.record.counts["sent"]

    def conduct(self) -> None:
        """Go through the phases; whatever happens, it comes to an end."""
        try:
            self.speaker = self._lab.speaker()
            options = self._lab.options
            if options.ramp:
                self._hold(options.hold, arriving=True)
            else:
                self._arrive()
                self._hold(options.hold)
            self._drain(options.drain)
        except _Ended as exc:
            self.end(str(exc))
        except Exception as exc:
            if not isinstance(exc, (GatewayError, OSError)):
                traceback.print_exc()  # a bug, here or in the scenario
            self.end(explain(exc, self._lab.url))

    def end(self, why: str) -> None:
        """Say why it ends early; what was said first counts."""
        self.error = self.error or why

    def finish(self) -> None:
        """The last audit: after it the fields are complete."""
        if self.speaker is not None:
            self.speaker.stop()
        self.phases["end"] = time()
        try:
            self._audit()
        except TimeoutError as exc:
            self.end(str(exc))
        if foreign := self.record.counts["foreign"]:
            self.notes.append(
                f"{foreign:,} messages of another run were heard: it has measured the "
                "same server at the same time"
            )
        if self.speaker is not None and not self.sent:
            self.end("nothing was sent")
        if self.sent and not self.ledger.received:
            self.end(
                f"{self.sent:,} messages were sent and nobody heard any of them: is it "
                "the right channel, action and dialect?"
            )
        if self.speaker is not None:
            self.speaker.close()

    # The phases.

    def _arrive(self) -> None:
        """Until all that will come are let in, or nobody more comes for long."""
        before, since = -1, monotonic()
        while (settled := self._settled()) < self.asked:
            if settled != before:
                before, since = settled, monotonic()
            if monotonic() - since > _ARRIVAL_PATIENCE_S:
                break
            self._go_on()
            self._wait()
        if not self.record.counts["let_in"]:
            errors = self.record.errors.most_common(1)
            why = errors[0][0].partition(": ")[2] if errors else "nobody was let in"
            raise _Ended(f"no socket could be opened: {why}")
        settled_at = time() + self._lab.dialect.settling_s
        while time() < settled_at:
            self._wait(settled_at)

    def _hold(self, seconds: float, *, arriving: bool = False) -> None:
        begin = time() if self.speaker is None else self.speaker.announce()
        self.phases["hold"] = begin
        self._crew.announce({} if self.speaker is None else self.speaker.speeches)
        if self.speaker is not None:
            self.speaker.speak(seconds)
        if arriving:
            self._arrive()
        while time() < begin + seconds:
            self._go_on()
            self._wait(begin + seconds)
        self._go_on()

    def _drain(self, seconds: float) -> None:
        """Until all that was owed has come, or nothing more does."""
        self.phases["drain"] = time()
        if self.speaker is not None:
            self.speaker.stop()
        self._crew.quiet()
        until = monotonic() + seconds
        before, since = -1, monotonic()
        while True:
            ledger = self._audit()
            if ledger.received == ledger.expected:
                return
            if ledger.received != before:
                before, since = ledger.received, monotonic()
            quiet_s = monotonic() - since
            if monotonic() > until and quiet_s < 2 * _AUDIT_EVERY_S:
                self.notes.append(
                    f"messages still came {seconds:g} s after the last was sent: what "
                    "is called lost may only have been late"
                )
            if monotonic() > until or quiet_s > _DRAIN_PATIENCE_S:
                return
            self._wait(time() + _AUDIT_EVERY_S, poll=_AUDIT_EVERY_S)

    # What they look at.

    def _settled(self) -> int:
        """How many of those who were asked for are let in, or turned away."""
        self.record.merge(self._lab.samples.take())
        return self.record.counts["let_in"] + self.record.counts["turned_away"]

    def _wait(self, until: float = float("inf"), poll: float = _POLL_S) -> None:
        """A moment, unless something has happened that ends the run."""
        if (why := self._crew.missing()) is not None:
            raise _Ended(why)
        gevent.sleep(min(poll, max(0.0, until - time())))

    def _go_on(self) -> None:
        """Unless all sockets are gone that had been there, or the speaker's is."""
        if self.speaker is not None and self.speaker.refusal is not None:
            raise _Ended(self.speaker.refusal)
        counts = self.record.counts
        gone = sum(n for name, n in counts.items() if name.startswith("closed:"))
        if 0 < counts["opened"] <= min(counts["dropped"], gone):
            raise _Ended(f"{self._lab.url} closed all sockets in the middle")

    def _audit(self) -> Ledger:
        speeches: dict[str, Speech] = {}
        if self.speaker is not None and "hold" in self.phases:
            speeches = self.speaker.speeches
        self.ledger = self._crew.audit(speeches)
        self.record.merge(self._lab.samples.take())
        return self.ledger

    def figures(self) -> dict[str, int]:
        """The ledger's rows, mishaps and all."""
        counts = self.record.counts
        # Who was neither let in nor turned away waits still: it counts as failed.
        settled = counts["let_in"] + counts["turned_away"]
        return {
            "asked": self.asked,
            "let_in": counts["let_in"],
            "failed": counts["failed"] + max(0, self.asked - settled),
            "opened": counts["opened"],
            "dropped": counts["dropped"],
            "sent": self.sent,
            "late": counts["late"],
            **self.ledger.figures(),
            "duplicated": counts["duplicated"],
            "reordered": counts["reordered"],
            "stray": counts["stray"],
        }
