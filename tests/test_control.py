"""Orders from process to process, those included that fall into a gap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway import control
from gateway.broadcaster import Broadcaster
from gateway.cable.history import Position, Recall
from gateway.cable.publication import Publication
from gateway.control import Disconnect, Orders
from gateway.errors import LocalError
from tests.support import eventually
from tests.support.app import CableClient
from tests.support.live import LiveServer
from tests.support.redis import RedisServer


def test_whom_to_disconnect() -> None:
    order = control.disconnect({"user": "ann", "shop": 7}, reconnect=False)
    assert not order.transient
    read = control.read(order)
    assert read == Disconnect({"user": "ann", "shop": "7"}, reconnect=False)
    with pytest.raises(LocalError, match="say whom to disconnect"):
        control.disconnect({}, reconnect=False)


@pytest.mark.parametrize("order", [b"{}", b"1", b'{"command":"explode"}', b"{"])
def test_orders_that_nobody_knows(order: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        control.read(Publication(order))


# Orders


def order(user: str, offset: int = 0, epoch: str = "e") -> Publication:
    """The order to disconnect ``user``, at its place in the stream."""
    made = control.disconnect({"user": user}, reconnect=True)
    return made._replace(epoch=epoch if offset else "", offset=offset)


class Obeyed(list[str]):
    """Whom the orders were about."""

    def __call__(self, it: Disconnect) -> None:
        self.append(it.identifiers["user"])


def past(*orders: Publication) -> Recall:
    """What the store tells."""
    return Recall(Position(orders[-1].epoch, orders[-1].offset), list(orders))


def test_what_was_ordered_before_is_not_obeyed() -> None:
    orders = Orders(obeyed := Obeyed())
    orders.begin(past(order("ann", 1)))
    orders.heard(order("bob", 2))
    orders.catch_up(past(order("ann", 1), order("bob", 2)))
    assert obeyed == ["bob"]


def test_what_was_ordered_in_a_gap_is_obeyed() -> None:
    orders = Orders(obeyed := Obeyed())
    orders.begin(Recall(Position("e", 0), []))
    ann, bob, cid = order("ann", 1), order("bob", 2), order("cid", 3)
    orders.heard(ann)
    orders.heard(cid)  # bob's is missing
    orders.catch_up(past(ann, bob, cid))
    assert obeyed == ["ann", "cid", "bob", "cid"]
    orders.heard(order("dan", 4))
    orders.catch_up(past(ann, bob, cid, order("dan", 4)))
    assert obeyed[4:] == ["dan"]


def test_a_store_that_has_begun_anew_has_only_new_orders() -> None:
    orders = Orders(obeyed := Obeyed())
    orders.begin(Recall(Position("e", 7), []))
    orders.catch_up(past(order("ann", 1, epoch="f")))
    assert obeyed == ["ann"]


def test_the_store_begins_anew_while_nobody_says_anything() -> None:
    """It forgets a stream that is silent for long. What comes then is obeyed once."""
    orders = Orders(obeyed := Obeyed())
    orders.begin(Recall(Position("e", 0), []))
    ann, bob = order("ann", 1, epoch="f"), order("bob", 2, epoch="f")
    orders.heard(ann)
    orders.catch_up(past(ann, bob))
    assert obeyed == ["ann", "bob"]


def test_adapters_that_keep_nothing() -> None:
    orders = Orders(obeyed := Obeyed())
    orders.begin(None)
    orders.heard(order("ann"))
    orders.catch_up(None)
    assert obeyed == ["ann"]


# By processes

APP = """
from gevent import monkey; monkey.patch_all()
from flask import Flask
from gateway import Connection, Gateway

app = Flask(__name__)
gateway = Gateway(app)

@gateway.connection
class AppConnection(Connection):
    identified_by = ("user",)

    def connect(self):
        self.user = self.request.args["user"]
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.mark.process
def test_an_order_reaches_a_process_that_was_deaf_for_a_moment(
    tmp_path: Path, redis: RedisServer
) -> None:
    """Even where streams have no history."""
    (tmp_path / "app.py").write_text(APP)
    environ = {
        "GATEWAY_ADAPTER": "redis",
        "GATEWAY_URL": redis.url,
        "GATEWAY_HISTORY": "0",
    }
    with (
        LiveServer(tmp_path, "app:app", cwd=tmp_path, **environ) as server,
        Broadcaster.from_url(redis.url) as speaker,
    ):
        eventually(lambda: server.get("/health")[0] == 200)
        ann, bob = (
            CableClient(server.connect(f"/cable?user={user}"))
            for user in ("ann", "bob")
        )
        for client in (ann, bob):
            assert client.receive() == {"type": "welcome"}
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        speaker.disconnect(user="ann", reconnect=False)
        assert ann.receive() == {
            "type": "disconnect",
            "reason": "remote",
            "reconnect": False,
        }
        assert not bob.ws.closed
