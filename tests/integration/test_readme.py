"""The first program of the README, typed as it stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.live import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.process]


def block(readme: str, first_line: str) -> str:
    """The fenced code that begins with this line."""
    found = re.search(
        rf"^```\w+\n({re.escape(first_line)}\n.*?)^```", readme, re.M | re.S
    )
    assert found is not None, f"the README has no code that begins with {first_line!r}"
    return found.group(1)


def test_the_first_program(
    tmp_path: Path, here: Path, visitor: Callable[[], BrowserContext]
) -> None:
    readme = (here / "README.md").read_text()
    (tmp_path / "wsgi.py").write_text(block(readme, "# wsgi.py"))
    (tmp_path / "templates").mkdir()
    page = block(readme, "<!-- templates/chat.html -->")
    (tmp_path / "templates" / "chat.html").write_text(page)
    (tmp_path / "node_modules").symlink_to(here / "node_modules")
    command = (sys.executable, "-m", "gateway", "serve")
    with LiveServer(
        tmp_path, command=command, cwd=tmp_path, GATEWAY_DRAIN_SECONDS="0"
    ) as server:
        people = [enter(visitor().new_page(), server.url) for _ in range(2)]
        people[0].locator("input").fill("Hello")
        people[0].keyboard.press("Enter")
        for person in people:
            expect(person.locator("li")).to_have_text(re.compile("^guest-....: Hello$"))
        with server.connect("/echo") as ws:
            ws.send("hello")
            assert ws.receive(5) == "hello"


def enter(page: Page, url: str) -> Page:
    """Open the page, and wait until it is subscribed."""
    heard: list[str] = []
    page.on(
        "websocket",
        lambda ws: ws.on("framereceived", lambda frame: heard.append(str(frame))),
    )
    page.goto(url)
    while not any("confirm_subscription" in frame for frame in heard):
        page.wait_for_timeout(50)
    return page
