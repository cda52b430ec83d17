"""Connections are cut in the middle of a stream: is everything told afterwards?

Speaks AnyCable's extended protocol, in which a client says where it was.
"""

from __future__ import annotations

import json
from typing import Any

from loadtest.dialects import Cable
from loadtest.lab import Lab
from loadtest.scenarios import SCENARIOS
from loadtest.stamps import Stamp
from loadtest.users import CableUser

_AWAY_S = 1.0


class Extended(Cable):
    """The cable with positions in streams."""

    subprotocols = ("actioncable-v1-ext-json",)


lab = Lab(SCENARIOS["resume"], rooms=lambda options: ["resume"])


class Returner(CableUser):
    """Is cut off every tenth message, each at another, and away for a second."""

    lab = lab
    dialect = Extended()
    last_text = ""

    def received(self, message: str | bytes) -> None:
        text = str(message)
        if self.ws is not None and '"offset":' in text and '"type"' not in text:
            self.last_text = text  # what comes behind a cut was not heard
        super().received(message)

    def heard(self, stamp: Stamp) -> None:
        super().heard(stamp)
        turn = (stamp.number + self.index) % self.lab.scenario.cut_every
        if turn == 0 and not self.lab.quiet:
            self.lab.samples.count("cut")
            self.cut()
            self.open_later(_AWAY_S)

    def join(self) -> str:
        command = super().join()
        if not self.last_text:
            return command
        last = json.loads(self.last_text)
        place = {"epoch": last["epoch"], "offset": last["offset"]}
        history: dict[str, Any] = {"streams": {last["stream_id"]: place}}
        return json.dumps({**json.loads(command), "history": history})
