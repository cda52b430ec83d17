"""The programs in the guides are programs: they run, as they are printed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from gateway.testing import LiveGateway, stub_connection, subscribe

ROOT = Path(__file__).parent.parent
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(guide: Path, language: str = "python") -> list[str]:
    """What a guide shows in a language, piece by piece."""
    return [
        text for kind, text in _FENCE.findall(guide.read_text()) if kind == language
    ]


README = blocks(ROOT / "README.md")
CHANNELS = blocks(ROOT / "docs" / "channels.md")
CONSUMER = CHANNELS.pop()
SHOP = "\n".join(CHANNELS)
"""One program: each piece goes on where the last one ended."""


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_what_is_python_is_python(guide: Path) -> None:
    for text in blocks(guide):
        compile(text, guide.name, "exec")


@pytest.mark.process
@pytest.mark.parametrize("number", range(len(README)))
def test_each_program_of_the_readme_runs(number: int, tmp_path: Path) -> None:
    program = README[number]
    (tmp_path / "program.py").write_text(program.replace("8080", "0"))
    ran = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def shop() -> Iterator[dict[str, Any]]:
    """The program of the guide to channels."""
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(SHOP, "channels.md", "exec", dont_inherit=True), names)
    yield names
    app: Flask = names["app"]
    app.extensions["gateway"].stop()


def test_the_refusal_of_the_guide_is_what_is_said(shop: dict[str, Any]) -> None:
    (printed,) = blocks(ROOT / "docs" / "channels.md", "json")
    orders = subscribe(shop["OrdersChannel"], stub_connection(current_user="ann"))
    with pytest.raises(Exception, match="item: Missing"):
        orders.perform("place", count=1)
    assert orders.transmissions == [msgspec.json.decode(printed)]


def test_the_consumer_of_the_guide_consumes(
    shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveGateway(shop["app"]) as live:
        cookie = live.cookie({"name": "ann"})["Cookie"]
        program = CONSUMER.replace("8000", str(live.port))
        exec(program.replace("session=…", cookie))
    assert capsys.readouterr().out == "{'placed': 'tea'}\n"


def test_the_tests_of_the_guide_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shop=SHOP)
    pytester.makeconftest("from gevent import monkey; monkey.patch_all()")
    pytester.makepyfile("\n".join(blocks(ROOT / "docs" / "testing.md")))
    pytester.runpytest_subprocess().assert_outcomes(passed=5)
