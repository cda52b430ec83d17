"""Commands as processes, and servers in this one for them to talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.program import Program, Terminal
from tests.websocket.conftest import certificate, serve

__all__ = ["certificate", "serve"]

Start = Callable[..., Program]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Start]:
    """Run ``gateway …`` with its input from a pipe; nothing is left running."""
    programs: list[Program] = []

    def start(*arguments: str, kind: type[Program] = Program) -> Program:
        programs.append(kind(tmp_path, *arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


@pytest.fixture
def terminal(gateway: Callable[..., Terminal]) -> Callable[..., Terminal]:
    """Run ``gateway …`` at a terminal."""
    return lambda *arguments: gateway(*arguments, kind=Terminal)
