"""The bare chat, and what its page tells of the layer it is written on."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import gateway.websocket
from examples import bare
from gateway.websocket import Limits, connect
from tests.support import eventually

PAGE = (Path(__file__).parent.parent / "docs" / "websocket.md").read_text()


def test_people_chat_in_rooms() -> None:
    with (
        bare.chat(("127.0.0.1", 0)) as server,
        connect(f"{server.url}/lobby") as ann,
        connect(f"{server.url}/lobby") as bob,
        connect(f"{server.url}/attic") as eve,
    ):
        eventually(lambda: sum(map(len, bare.rooms.values())) == 3)
        ann.send("hello")
        assert ann.receive(5) == bob.receive(5) == "hello"
        eve.send("alone")
        assert eve.receive(5) == "alone"
        bob.close()
        eventually(lambda: len(bare.rooms["/lobby"]) == 1)
    eventually(lambda: not bare.rooms)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_page_imports_what_there_is(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module == "gateway.websocket":
            for alias in node.names:
                assert alias.name in gateway.websocket.__all__


def test_the_page_tells_all_limits() -> None:
    table = PAGE.partition("## Limits")[2].partition("## ")[0]
    missing = [each.name for each in fields(Limits) if f"`{each.name}`" not in table]
    assert missing == []
