"""Each fault of ``python -m bench.faults``, on few sockets: everybody comes back.

Two workers of gunicorn, a real Redis, clients of our own; what was accepted while the
fault lasted is heard by all, once, unless Redis itself has lost it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.faults import FAULTS, Fault, Scene

pytestmark = pytest.mark.process


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.strike.__name__)
def test_everybody_is_back_and_hears(fault: Fault, tmp_path: Path) -> None:
    broker = fault.broker(tmp_path / "redis")
    try:
        with Scene(
            *(tmp_path, broker), workers=2, sockets=20, hang_s=3.0, away_s=3.0
        ) as scene:
            scene.suffer(fault)
            assert scene.connected == 20
            if fault.keeps:
                assert scene.lost == 0
            assert scene.repeated == 0
    finally:
        broker.stop()
