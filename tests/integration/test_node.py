"""The npm clients, unmodified, against a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.conftest import LiveServer, Node
from tests.support import eventually

pytestmark = [pytest.mark.node, pytest.mark.process]

StartNode = Callable[..., Node]


def test_two_clients_chat(live: LiveServer, node: StartNode) -> None:
    url = f"ws://127.0.0.1:{live.port}/cable"
    rails = node("rails_client.mjs", url, "node-1")
    anycable = node("anycable_client.mjs", url, "node-1")
    rails.wait_for("connected false")
    anycable.wait_for("connected false")
    rails.say("speak hello from rails")
    anycable.say("speak hello from anycable")
    for client in (rails, anycable):
        eventually(lambda c=client: len(c.lines) == 3)
        text = "\n".join(client.lines)
        assert '"message":"hello from rails"' in text
        assert '"message":"hello from anycable"' in text
    rails.say("move node-1b")
    eventually(lambda: rails.lines.count("connected false") == 2)
    anycable.say("speak are you gone?")
    eventually(lambda: "are you gone?" in anycable.lines[-1])
    rails.say("speak I am here")
    eventually(lambda: "I am here" in rails.lines[-1])
    assert "are you gone?" not in "\n".join(rails.lines)


def test_rejection_reaches_the_client(live: LiveServer, node: StartNode) -> None:
    client = node("rails_client.mjs", f"ws://127.0.0.1:{live.port}/cable", "none")
    client.wait_for("rejected")


def test_the_rails_client_comes_back_after_its_connection_is_cut(
    live: LiveServer, node: StartNode
) -> None:
    client = node("rails_client.mjs", f"ws://127.0.0.1:{live.port}/cable", "node-2")
    client.wait_for("connected false")
    client.say("cut")
    client.wait_for("disconnected true")
    client.wait_for("connected true", timeout=60)
    client.say("speak back again")
    eventually(lambda: any("back again" in line for line in client.lines))
