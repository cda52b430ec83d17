"""What Flask people expect: logins, blueprints, factories, several apps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Blueprint, Flask, current_app
from flask_login import LoginManager, UserMixin, current_user, login_user

from gateway import Channel, Channels, Connection, Consumer, Gateway, action
from gateway.consumer import Disconnected
from gateway.errors import LocalError
from gateway.signals import connected
from gateway.testing import assert_reject_connection, cable_client
from tests.support import eventually
from tests.support.app import Served, identify


def make_app(name: str = "tests.flask") -> Flask:
    app = Flask(name)
    app.secret_key = "not secret"
    app.config["GATEWAY_ADAPTER"] = "memory"
    return app


@contextmanager
def serving(app: Flask) -> Iterator[Served]:
    with Served(app) as served:
        yield served


# Logins


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


class LoggedIn(Connection):
    identified_by = ("user",)

    def connect(self) -> None:
        if not current_user.is_authenticated:
            self.reject()
        self.user = current_user.id


class WhoChannel(Channel):
    @action
    def who(self) -> None:
        self.transmit([self.user, current_app.name])


@pytest.fixture
def with_logins() -> Iterator[Flask]:
    app = make_app()
    gateway = Gateway(app)
    gateway.connection(LoggedIn)
    gateway.channel(WhoChannel)
    LoginManager(app).user_loader(User)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return "welcome"

    yield app
    app.extensions["gateway"].stop()


def test_whoever_is_logged_in_is_known_to_the_connection(with_logins: Flask) -> None:
    browser = with_logins.test_client()
    browser.get("/login/ann")
    with cable_client(browser) as consumer:
        who = consumer.subscribe("WhoChannel").wait_confirmed()
        who.perform("who")
        assert who.receive(5) == ["ann", "tests.flask"]


def test_whoever_is_not_is_rejected(with_logins: Flask) -> None:
    with assert_reject_connection():
        cable_client(with_logins.test_client())


def test_the_user_may_be_kept_as_flask_login_gives_it() -> None:
    """``current_user`` is a proxy: in the next request it is somebody else."""
    gateway = Gateway()
    app = make_app("tests.proxies")
    LoginManager(app).user_loader(User)
    gateway.init_app(app)

    @gateway.connection
    class Whoever(Connection):
        identified_by = ("current_user",)

        def connect(self) -> None:
            self.current_user = current_user

    @gateway.channel
    class NameChannel(Channel):
        @action
        def name(self) -> None:
            self.transmit(self.current_user.id)

    @app.get("/login/<name>")
    def login(name: str) -> str:
        login_user(User(name))
        return "welcome"

    def browser(name: str) -> Consumer:
        client = app.test_client()
        client.get(f"/login/{name}")
        return cable_client(client)

    with browser("ann") as ann, browser("bob") as bob:
        names = [each.subscribe("NameChannel").wait_confirmed() for each in (ann, bob)]
        for name in names:
            name.perform("name")
        assert [name.receive(5) for name in names] == ["ann", "bob"]
        gateway.disconnect(current_user=User("bob"), reconnect=False)
        with pytest.raises(Disconnected):
            names[1].receive(5)
        names[0].perform("name")
        assert names[0].receive(5) == "ann"
    app.extensions["gateway"].stop()


# Blueprints


def test_a_blueprint_brings_its_own_channels() -> None:
    shop = Blueprint("shop", __name__)
    channels = Channels(shop)

    @channels.channel
    class PricesChannel(Channel):
        def subscribed(self) -> None:
            self.stream_for("apples")

        @action
        def set(self, data: dict[str, Any]) -> None:
            self.broadcast_to("apples", data["price"])

    app, without = make_app(), make_app("tests.without")
    for each in (app, without):
        Gateway(each)
    app.register_blueprint(shop, url_prefix="/shop")
    prices = identify("PricesChannel")
    with serving(app) as served, served.client() as client:
        assert client.subscribe("PricesChannel") == "confirm_subscription"
        client.perform(prices, action="set", price=3)
        assert client.message() == 3
    with serving(without) as served, served.client() as client:
        assert client.subscribe("PricesChannel") == "reject_subscription"


def test_a_blueprint_with_channels_needs_a_gateway() -> None:
    shop = Blueprint("shop", __name__)
    Channels(shop)
    with pytest.raises(
        LocalError, match=r"'shop' brings channels: call gateway.init_a"
    ):
        make_app().register_blueprint(shop)


# Several apps


def test_one_gateway_serves_the_apps_of_a_factory() -> None:
    gateway = Gateway()

    @gateway.channel
    class NewsChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from("news")

        @action
        def tell(self, data: dict[str, Any]) -> None:
            gateway.broadcast("news", [current_app.name, data["text"]])

    apps = [make_app("one"), make_app("two")]
    for app in apps:
        gateway.init_app(app)
    with (
        serving(apps[0]) as one,
        serving(apps[1]) as two,
        one.client() as ann,
        two.client() as bob,
    ):
        for client in (ann, bob):
            client.subscribe("NewsChannel")
        for client in (bob, ann):
            client.perform(identify("NewsChannel"), action="tell", text="hi")
        assert ann.message() == ["one", "hi"]
        assert bob.message() == ["two", "hi"]
        with apps[1].app_context():
            gateway.broadcast("news", "from a view")
        assert bob.message() == "from a view"
        assert len(one.cable.connections()) == 1


def test_signals_say_which_app_they_are_about() -> None:
    apps = [make_app("one"), make_app("two")]
    heard: list[Any] = []
    for app in apps:
        Gateway(app)

    def receive(sender: Flask, **about: Any) -> None:
        heard.append((sender.name, current_app.name, sorted(about)))

    with connected.connected_to(receive, sender=apps[0]):
        for app in apps:
            with serving(app) as served, served.client():
                eventually(lambda: heard)
    assert heard == [("one", "one", ["connection"])]


def test_a_channel_of_two_gateways_speaks_to_the_current_app() -> None:
    class NewsChannel(Channel):
        def subscribed(self) -> None:
            self.stream_for("all")

        @action
        def tell(self, data: dict[str, Any]) -> None:
            self.broadcast_to("all", data["text"])

    apps = [make_app("one"), make_app("two")]
    for app in apps:
        Gateway(app).channel(NewsChannel)
    with (
        serving(apps[0]) as one,
        serving(apps[1]) as two,
        one.client() as ann,
        two.client() as bob,
    ):
        for client in (ann, bob):
            client.subscribe("NewsChannel")
        ann.perform(identify("NewsChannel"), action="tell", text="to the first")
        assert ann.message() == "to the first"
        with apps[1].app_context():
            NewsChannel.broadcast_to("all", "to the second")
        assert bob.message() == "to the second"
    with pytest.raises(LocalError, match=r"several gateways: use it within app"):
        NewsChannel.broadcast_to("all", "to whom?")


# Names


def test_a_channel_may_have_a_name_that_python_has_no_word_for() -> None:
    app = make_app()
    gateway = Gateway(app)

    @gateway.channel_as("Admin::NewsChannel")
    class NewsChannel(Channel):
        pass

    with serving(app) as served, served.client() as client:
        assert client.subscribe("Admin::NewsChannel") == "confirm_subscription"
        assert client.subscribe("NewsChannel") == "reject_subscription"
    assert NewsChannel.broadcasting_for(7) == "admin:news:7"


def test_a_channel_that_says_what_it_is_called_is_called_so() -> None:
    shop = Blueprint("shop", __name__)

    @Channels(shop).channel_as("Admin::NewsChannel")
    class NewsChannel(Channel):
        channel_name = "headlines"

    assert NewsChannel.broadcasting_for(7) == "headlines:7"


# The past, and who is present, from anywhere


def test_views_see_the_past_and_who_is_present() -> None:
    app = make_app()
    gateway = Gateway(app)

    @gateway.channel
    class RoomChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from("room", presence=True)
            self.join_presence("ann", {"mood": "fine"})

        @action
        def look(self) -> None:
            self.transmit([self.presence("room"), self.history_since("room", 60)])

        @action
        def go(self) -> None:
            self.leave_presence()

    for number in range(3):
        gateway.broadcast("room", number)
    assert gateway.history("room") == [0, 1, 2]
    assert gateway.history("room", limit=2) == [1, 2]
    assert gateway.history("room", since=2**40) == []
    assert gateway.history("elsewhere") == []
    with serving(app) as served, served.client() as client:
        client.subscribe("RoomChannel")
        assert gateway.presence("room") == {"ann": {"mood": "fine"}}
        client.perform(identify("RoomChannel"), action="look")
        assert client.message() == [{"ann": {"mood": "fine"}}, [0, 1, 2]]
        client.perform(identify("RoomChannel"), action="go")
        eventually(lambda: gateway.presence("room") == {})
