"""The demo's contract: real clients and load tools rely on these names."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote, urlencode

import pytest

from gateway.errors import HandshakeRefused
from tests.support.app import CableClient, identify
from tests.support.live import ROOT, LiveServer

pytestmark = pytest.mark.process


def client(live: LiveServer) -> CableClient:
    welcomed = CableClient(live.connect("/cable"))
    assert welcomed.receive() == {"type": "welcome"}
    return welcomed


def test_chat_channel(live: LiveServer) -> None:
    with client(live) as one, client(live) as two:
        assert one.subscribe("ChatChannel") == "reject_subscription"
        for each in (one, two):
            assert each.subscribe("ChatChannel", room_id=7) == "confirm_subscription"
        one.perform(identify("ChatChannel", room_id=7), action="speak", message="hi")
        for each in (one, two):
            message = each.message()
            assert message["message"] == "hi"
            assert message["user"].startswith("guest-")


def test_speech_that_is_none_is_refused(live: LiveServer) -> None:
    with client(live) as one:
        one.subscribe("ChatChannel", room_id=8)
        one.perform(identify("ChatChannel", room_id=8), action="speak", message=[])
        refusal = one.message()
        assert (refusal["error"], refusal["field"]) == ("invalid_payload", "message")


def test_echo_channel(live: LiveServer) -> None:
    with client(live) as one:
        one.subscribe("EchoChannel")
        one.perform(identify("EchoChannel"), action="echo", a=[1, {"b": None}])
        assert one.message() == {"a": [1, {"b": None}]}


def test_bare_echo(live: LiveServer) -> None:
    with live.connect("/echo") as ws:
        for message in ("text", b"binary"):
            ws.send(message)
            assert ws.receive(5) == message


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/chat/lobby",
        "/chat/a%2Fb",
        "/room/lobby",
        "/health",
        "/assets/uplot.js",
        "/assets/anycable-core/index.js",
    ],
)
def test_pages(live: LiveServer, path: str) -> None:
    with live.raw() as raw:
        got = raw.request(path, {"Upgrade": None, "Connection": "close"})
    assert got[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/assets/none.js",
        "/assets/anycable-core/package.json",
        "/assets/anycable-core/../web/index.js",
    ],
)
def test_files_that_are_none_of_the_browsers_business(
    live: LiveServer, path: str
) -> None:
    with live.raw() as raw:
        got = raw.request(path, {"Upgrade": None, "Connection": "close"})
    assert got[0] == 404


def tell_name(live: LiveServer, **form: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer."""
    body = urlencode(form).encode()
    headers = {
        "Upgrade": None,
        "Connection": "close",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": str(len(body)),
    }
    with live.raw() as raw:
        status, answered, _ = raw.request("/name", headers, method="POST", body=body)
    return status, answered


@pytest.mark.parametrize("room", ["lobby", "a/b", "kü che", "?x"])
def test_a_name_leads_back_to_the_room(live: LiveServer, room: str) -> None:
    for kind in ("chat", "room"):
        status, headers = tell_name(live, page=f"{kind}/{room}", name="Ann")
        assert status == 302
        assert headers["location"] == f"/{kind}/{quote(room)}"


@pytest.mark.parametrize("page", ["", "chat", "chat/", "chat/..", "health/x", "chat//"])
def test_a_name_told_nowhere_is_refused(live: LiveServer, page: str) -> None:
    assert tell_name(live, page=page, name="Ann")[0] == 400


def test_a_name_may_be_blank(live: LiveServer) -> None:
    assert tell_name(live, page="chat/lobby", name=" ")[0] == 302
    assert tell_name(live, page="chat/lobby")[0] == 302


def test_a_foreign_page_may_not_connect(live: LiveServer) -> None:
    with pytest.raises(HandshakeRefused, match="404"):
        live.connect("/cable", origin="https://evil.net")


def test_a_server_that_cannot_upgrade_is_told_so() -> None:
    script = (
        "from wsgi import app; c = app.test_client(); "
        "print(c.get('/cable', headers={'Upgrade': 'websocket', "
        "'Connection': 'Upgrade'}).status_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "426", done.stderr


@pytest.mark.parametrize("environment", ["production", "prod", "staging"])
def test_only_development_has_the_development_key(environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"],
        cwd=ROOT,
        env={"GATEWAY_ENV": environment, "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "set the environment variable SECRET_KEY" in done.stderr
