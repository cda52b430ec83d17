"""The chat of the tutorial, served as its first line says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gateway import Consumer
from gateway.consumer import Disconnected
from tests.support.live import LiveServer

pytestmark = pytest.mark.process


def test_two_people_chat(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "examples.chat:app") as server:
        url = f"ws://127.0.0.1:{server.port}/cable?name="
        with Consumer(f"{url}ann") as ann, Consumer(f"{url}bob") as bob:
            rooms = [
                each.subscribe("ChatChannel", room_id=1).wait_confirmed()
                for each in (ann, bob)
            ]
            rooms[0].perform("speak", message="hello")
            for room in rooms:
                assert room.receive(5) == {"message": "hello", "user": "ann"}
        with Consumer(url) as nobody, pytest.raises(Disconnected, match="unauthorized"):
            nobody.subscribe("ChatChannel", room_id=1).receive(5)


def test_it_is_short(here: Path) -> None:
    """Under thirty lines of Python, counted as lines that hold code."""
    tree = ast.parse((here / "examples" / "chat.py").read_text())
    lines = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)}
    lines |= {
        each.lineno
        for node in ast.walk(tree)
        for each in getattr(node, "decorator_list", [])
    }
    assert len(lines) < 30
