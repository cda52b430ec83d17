"""Two browsers chatting, and a dashboard that moves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from gateway.broadcaster import Broadcaster
from tests.support.live import LiveServer
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.browser, pytest.mark.process]

Visitor = Callable[[], BrowserContext]


def test_two_browsers_chat(live: LiveServer, visitor: Visitor) -> None:
    ann, bob = visitor().new_page(), visitor().new_page()
    for page, name in ((ann, "Ann"), (bob, "Bob")):
        page.goto(f"{live.url}/chat/kitchen")
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Change").click()
        expect(page.locator("#state")).to_have_text("connected")
    ann.get_by_label("Message").fill("Is there <b>tea</b>?")
    ann.get_by_role("button", name="Send").click()
    bob.get_by_label("Message").fill("Yes")
    bob.get_by_role("button", name="Send").click()
    for page in (ann, bob):
        expect(page.locator("#messages li")).to_have_text(
            ["Ann Is there <b>tea</b>?", "Bob Yes"]
        )


def test_two_tabs_of_one_browser_chat(live: LiveServer, visitor: Visitor) -> None:
    context = visitor()
    one, two = context.new_page(), context.new_page()
    for page in (one, two):
        page.goto(f"{live.url}/chat/hall")
        expect(page.locator("#state")).to_have_text("connected")
    one.get_by_label("Message").fill("Hello, other tab")
    one.keyboard.press("Enter")
    expect(two.locator("#messages li")).to_contain_text(["Hello, other tab"])


def test_a_guest_stays_the_same(live: LiveServer, visitor: Visitor) -> None:
    page = visitor().new_page()
    page.goto(f"{live.url}/chat/porch")
    name = page.get_by_label("Your name").input_value()
    assert name.startswith("guest-")
    page.goto(f"{live.url}/room/porch")
    assert page.get_by_label("Your name").input_value() == name
    say(page, "It is me")
    expect(page.locator("#messages li.mine")).to_have_text([f"{name} It is me"])


def say(page: Page, text: str) -> None:
    """Type it and press Enter, once the page is connected."""
    expect(page.locator("#state")).to_have_text("connected")
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")


def test_a_room_shows_who_is_there_and_what_was_said(
    live: LiveServer, visitor: Visitor
) -> None:
    pages: dict[str, Page] = {}
    for name in ("Ann", "Bob"):
        page = pages[name] = visitor().new_page()
        page.goto(f"{live.url}/room/library")
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Change").click()
        say(page, f"I am {name}")
    ann, bob = pages.values()
    for page in (ann, bob):
        expect(page.locator("#people li", has_text="Ann")).to_be_visible()
        expect(page.locator("#people li", has_text="Bob")).to_be_visible()
        expect(page.locator("#messages li")).to_have_text(
            ["Ann I am Ann", "Bob I am Bob"]
        )
    ann.get_by_label("Message").press("x")
    expect(bob.locator("#typing")).to_have_text("Ann is typing …")
    bob.goto(f"{live.url}/chat/library")
    say(bob, "I talk to you with Rails' client")
    expect(ann.locator("#messages li").last).to_have_text(
        "Bob I talk to you with Rails' client"
    )


def test_rooms_are_apart(live: LiveServer, visitor: Visitor) -> None:
    attic, cellar = visitor().new_page(), visitor().new_page()
    attic.goto(f"{live.url}/chat/attic")
    cellar.goto(f"{live.url}/chat/cellar")
    for page in (attic, cellar):
        expect(page.locator("#state")).to_have_text("connected")
        page.get_by_label("Message").fill(f"from {page.url}")
        page.keyboard.press("Enter")
    expect(attic.locator("#messages li")).to_have_count(1)
    expect(cellar.locator("#messages li")).to_have_count(1)


def test_the_dashboard_moves_in_every_browser(
    live: LiveServer, visitor: Visitor
) -> None:
    pages = [visitor().new_page() for _ in range(2)]
    for page in pages:
        page.goto(live.url)
    for page in pages:
        sockets = page.locator("[data-figure=sockets]")
        expect(sockets.locator("canvas")).to_be_visible()
        expect(sockets.locator("output")).to_have_text("2")
    assert float(pages[0].locator("[data-figure=memory] output").inner_text()) > 5
    updates = """async () => {
        const output = document.querySelector("[data-figure=sockets] output")
        let updates = 0
        const observer = new MutationObserver(() => updates++)
        observer.observe(output, { childList: true })
        await new Promise((resolve) => setTimeout(resolve, 2000))
        return updates
    }"""
    assert 5 <= pages[1].evaluate(updates) <= 11
    visitor().new_page().goto(live.url)
    expect(pages[0].locator("[data-figure=sockets] output")).to_have_text("3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_can_be_seen(
    live: LiveServer, visitor: Visitor, scheme: Literal["light", "dark"]
) -> None:
    page = visitor().new_page()
    page.emulate_media(color_scheme=scheme)
    page.goto(live.url)
    drawn = """() => [...document.querySelectorAll("canvas")].every((canvas) => {
        const output = canvas.closest("section").querySelector("output")
        const [r, g, b] = getComputedStyle(output).color.match(/[0-9]+/g).map(Number)
        const { width, height } = canvas
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height)
        for (let at = 0; at < data.length; at += 4)
            if (data[at] == r && data[at + 1] == g && data[at + 2] == b) return true
        return false
    })"""
    page.wait_for_function(drawn)
    accent = {"light": "rgb(10, 108, 194)", "dark": "rgb(92, 179, 255)"}
    expect(page.locator("output").first).to_have_css("color", accent[scheme])


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("path", ["/", "/chat/lobby", "/room/lobby"])
def test_nothing_is_wider_than_the_page(
    live: LiveServer, visitor: Visitor, path: str, width: int
) -> None:
    page = visitor().new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{live.url}{path}")
    expect(page.locator("#state")).to_have_text("connected")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    overhang = """() => [...document.querySelectorAll("canvas")].map((canvas) =>
        canvas.getBoundingClientRect().right
        - canvas.closest("section").getBoundingClientRect().right)"""
    assert all(pixels < 0 for pixels in page.evaluate(overhang))


def test_the_dashboard_pauses_while_its_tab_is_hidden(
    live: LiveServer, visitor: Visitor
) -> None:
    page = visitor().new_page()
    heard: list[str] = []
    page.on(
        "websocket",
        lambda ws: ws.on("framereceived", lambda frame: heard.append(str(frame))),
    )
    turn = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true })
        document.dispatchEvent(new Event("visibilitychange"))
    }"""

    def wait_for(what: str) -> list[str]:
        """Forget what was heard, and hear on until this comes."""
        heard.clear()
        while not any(what in frame for frame in heard):
            page.wait_for_timeout(50)
        return list(heard)

    sample, ping = '"message":{', '"type":"ping"'
    page.goto(live.url)
    wait_for(sample)
    page.evaluate(turn, True)
    wait_for(ping)  # by then the server has heard of it
    assert not any(sample in frame for frame in wait_for(ping))
    page.evaluate(turn, False)
    wait_for(sample)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, redis: RedisServer) -> Iterator[LiveServer]:
    """The demo on one worker, whose streams outlive it."""
    settings = {"GATEWAY_ADAPTER": "redis", "GATEWAY_DRAIN_SECONDS": "0"}
    with LiveServer(tmp_path, GATEWAY_URL=redis.url, **settings) as running:
        yield running


@contextmanager
def no_worker(server: LiveServer) -> Iterator[None]:
    """Kill the worker; there is a new one afterwards."""
    (worker,) = server.workers
    server.process.send_signal(signal.SIGSTOP)
    worker.kill()
    yield
    server.process.send_signal(signal.SIGCONT)


def radio(redis: RedisServer, room: str, *messages: str) -> None:
    """Somebody outside says something in a room."""
    with Broadcaster.from_url(redis.url) as broadcaster:
        for message in messages:
            said = {"user": "Radio", "message": message}
            broadcaster.broadcast(f"chat_{room}", said)


def test_pages_take_up_where_they_were_when_a_worker_is_killed(
    server: LiveServer, redis: RedisServer, visitor: Visitor
) -> None:
    room, chat = visitor().new_page(), visitor().new_page()
    room.goto(f"{server.url}/room/cabin")
    chat.goto(f"{server.url}/chat/cabin")
    expect(room.locator("#state")).to_have_text("connected")
    say(chat, "Hello")
    expect(room.locator("#messages li")).to_contain_text(["Hello"])
    with no_worker(server):
        for page in (room, chat):
            expect(page.locator("#state")).to_have_text("reconnecting")
        radio(redis, "cabin", "Rain", "Wind")
    for page in (room, chat):
        expect(page.locator("#state")).to_have_text("connected", timeout=30_000)
    say(chat, "Still there?")
    expect(room.locator("#messages li")).to_contain_text(
        ["Hello", "Radio Rain", "Radio Wind", "Still there?"]
    )
    expect(chat.locator("#messages li")).to_contain_text(["Hello", "Still there?"])


def test_an_event_source_takes_up_where_it_was(
    server: LiveServer, redis: RedisServer, visitor: Visitor
) -> None:
    page = visitor().new_page()
    page.goto(f"{server.url}/health")
    page.evaluate("""() => {
        window.heard = []
        const hear = ({ type, data }) => heard.push(type === "message" ? data : type)
        const source = new EventSource("/cable/events?channel=ChatChannel&room_id=den")
        for (const kind of ["message", "confirm_subscription"])
            source.addEventListener(kind, hear)
    }""")
    page.wait_for_function("heard.length == 1")
    with no_worker(server):
        radio(redis, "den", "Rain", "Wind")
    page.wait_for_function("heard.length == 4")
    radio(redis, "den", "Sun")
    page.wait_for_function("heard.length == 5")
    assert page.evaluate("heard.join()") == ",".join(
        [
            "confirm_subscription",
            "confirm_subscription",
            '{"user":"Radio","message":"Rain"}',
            '{"user":"Radio","message":"Wind"}',
            '{"user":"Radio","message":"Sun"}',
        ]
    )
