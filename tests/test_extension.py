"""The Flask extension over real sockets: who may come, what runs, what is said."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import gevent
import pytest
from flask import Blueprint, Flask

from gateway import Channel, Channels, Connection, Gateway, action, reasons, rescue_from
from gateway.errors import ConfigError, HandshakeRefused, LocalError
from gateway.websocket import WebSocket
from tests.support import eventually
from tests.support.app import ANYCABLE, Served, identify
from tests.support.raw import RawClient

ROOM = identify("RoomChannel", room=1)


def make_app(**config: Any) -> tuple[Flask, Gateway]:
    app = Flask("tests.app")
    app.secret_key = "not secret"
    app.config.update(config)
    gateway = Gateway(app)

    @gateway.connection
    class AppConnection(Connection):
        identified_by = ("current_user",)

        def connect(self) -> None:
            app.config.setdefault("CAME", []).append(self)
            match self.session.get("fail"):
                case True:
                    raise RuntimeError("on purpose")
                case "in time":
                    with gevent.Timeout(0.001):
                        gevent.sleep(10)
                case int(status):
                    flask.abort(status, "on purpose")
                case str(how):
                    raise LookupError(how)
            if self.session.get("banned"):
                self.reject()
            self.current_user = self.session.get("name", "guest")
            if self.session.get("nameless"):
                self.current_user = object()

        @rescue_from(LookupError)
        def mend(self, exc: LookupError) -> None:
            match exc.args[0]:
                case "reject":
                    self.reject()
                case "abort":
                    flask.abort(401)
                case "worse":
                    raise RuntimeError("while rescuing") from exc

        def disconnect(self) -> None:
            app.config.setdefault("LEFT", []).append(self.current_user)

    @gateway.channel
    class RoomChannel(Channel):
        def subscribed(self) -> None:
            self.stream_from(f"room_{self.params['room']}")

        @action
        def speak(self, data: dict[str, Any]) -> None:
            gateway.broadcast(
                f"room_{self.params['room']}", [self.current_user, data["text"]]
            )

        @action
        def slowly(self, data: dict[str, Any]) -> None:
            gevent.sleep(data["seconds"])
            self.transmit("done")

        @action
        def surroundings(self) -> None:
            self.transmit(
                [flask.current_app.name, flask.has_request_context(), "seen" in flask.g]
            )
            flask.g.seen = True

        @action
        def leave(self) -> None:
            self.connection.close(reasons.REMOTE._replace(reconnect=False))

    @gateway.websocket("/shout/<int:times>", subprotocols=["shout"])
    def shout(ws: WebSocket, times: int) -> None:
        for message in ws:
            ws.send(str(message).upper() * times)

    return app, gateway


@pytest.fixture
def served() -> Iterator[Served]:
    with Served(make_app()[0]) as running:
        yield running


# Who may come


def test_the_session_says_who_it_is(served: Served) -> None:
    with served.client(headers=served.cookie({"name": "ann"})) as ann:
        assert ann.subscribe("RoomChannel", room=1) == "confirm_subscription"
        ann.perform(ROOM, action="speak", text="hi")
        assert ann.message() == ["ann", "hi"]
    eventually(lambda: served.app.config.get("LEFT") == ["ann"])


def test_a_rejected_client_is_told_not_to_come_back(served: Served) -> None:
    ws = served.connect(headers=served.cookie({"banned": True}))
    frame = '{"type":"disconnect","reason":"unauthorized","reconnect":false}'
    assert ws.receive(5) == frame
    assert ws.wait_closed(5)
    assert ws.close_code == 1000


@pytest.mark.parametrize("fail", [True, "in time", "worse"])
def test_a_failing_connect_is_not_the_clients_fault(
    served: Served, caplog: pytest.LogCaptureFixture, fail: bool | str
) -> None:
    ws = served.connect(headers=served.cookie({"fail": fail}))
    frame = '{"type":"disconnect","reason":"internal_error","reconnect":true}'
    assert ws.receive(5) == frame
    assert ws.wait_closed(5)
    assert ws.close_code == 1011
    assert "AppConnection.connect failed" in caplog.text


def test_a_rescued_connect_has_failed_all_the_same(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    ws = served.connect(headers=served.cookie({"fail": "mended"}))
    assert "internal_error" in str(ws.receive(5))
    assert "connect failed" not in caplog.text


def test_a_rescuing_handler_may_reject(served: Served) -> None:
    ws = served.connect(headers=served.cookie({"fail": "reject"}))
    frame = '{"type":"disconnect","reason":"unauthorized","reconnect":false}'
    assert ws.receive(5) == frame


@pytest.mark.parametrize(
    ("fail", "status"), [(401, 401), (403, 403), (404, 404), ("abort", 401)]
)
def test_connect_may_answer_with_plain_http(
    served: Served, fail: int | str, status: int
) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        served.connect(headers=served.cookie({"fail": fail}))
    assert refused.value.status == status


@pytest.mark.parametrize("limit", ["MAX_SOCKETS", "MAX_SOCKETS_PER_ADDRESS"])
def test_a_full_server_asks_nobody_who_they_are(limit: str) -> None:
    app, _ = make_app(**{f"GATEWAY_{limit}": 1})
    with Served(app) as served, served.client():
        with pytest.raises(HandshakeRefused, match="503|429"):
            served.connect()
        assert len(app.config["CAME"]) == 1


def test_whoever_cannot_be_named_is_not_let_in_and_harms_nobody(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with served.client(headers=served.cookie({"name": "ann"})) as ann:
        ws = served.connect(headers=served.cookie({"nameless": True}))
        frame = '{"type":"disconnect","reason":"internal_error","reconnect":true}'
        assert ws.receive(5) == frame
        assert "AppConnection.current_user identifies the connection, but" in (
            caplog.text
        )
        served.cable.disconnect({"current_user": "ann"}, reconnect=False)
        assert ann.receive()["reason"] == "remote"


def test_an_event_stream_takes_a_place_too() -> None:
    app, _ = make_app(GATEWAY_MAX_SOCKETS=1)

    def ask(path: str) -> int:
        page = {"Upgrade": None, "Connection": "close"}
        status: int = RawClient(served.port).request(path, page)[0]
        return status

    with Served(app) as served:
        for _ in range(2):  # who is refused gives it back
            assert ask("/cable/events?channel=NoChannel") == 400
        with served.client():
            assert ask("/cable/events?channel=RoomChannel&room=1") == 503


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        ((), None),
        (("actioncable-v1-json", "actioncable-unsupported"), "actioncable-v1-json"),
        (("actioncable-v2-json", "actioncable-unsupported"), "actioncable-unsupported"),
        (("actioncable-v1-json", "anycable-token.abc"), "actioncable-v1-json"),
    ],
)
def test_subprotocols(
    served: Served, offer: tuple[str, ...], chosen: str | None
) -> None:
    with served.connect(subprotocols=offer) as ws:
        assert ws.subprotocol == chosen


def test_a_foreign_origin_is_refused_before_anything_else(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(HandshakeRefused, match="404 NOT FOUND: Page not found"):
        served.connect(origin="https://evil.net")
    assert "'https://evil.net' may not connect" in caplog.text
    assert "allowed_origins" in caplog.text
    served.connect(origin=f"http://127.0.0.1:{served.port}").close()


def test_allowed_origins() -> None:
    app, _ = make_app(GATEWAY_ALLOWED_ORIGINS=["https://*.app.net"])
    with Served(app) as served:
        served.connect(origin="https://www.app.net").close()
    app, _ = make_app(GATEWAY_REQUIRE_ORIGIN=True)
    with Served(app) as served, pytest.raises(HandshakeRefused, match="404"):
        served.connect()


def test_the_app_may_refuse_with_plain_http() -> None:
    app, _ = make_app()

    @app.before_request
    def members_only() -> Any:
        return None if flask.request.headers.get("X-Key") else ("Who are you?", 401)

    with Served(app) as served:
        with pytest.raises(HandshakeRefused, match="401 UNAUTHORIZED: Who are you"):
            served.connect()
        served.connect(headers={"X-Key": "1"}).close()


def test_the_app_may_add_headers_to_the_upgrade() -> None:
    app, _ = make_app()

    @app.after_request
    def sign(response: flask.Response) -> flask.Response:
        flask.session["seen"] = True
        response.headers["X-Served-By"] = "tests"
        return response

    with Served(app) as served:
        client = RawClient(served.port)
        status, headers, _ = client.request("/cable")
        assert status == 101
        assert headers["x-served-by"] == "tests"
        assert headers["set-cookie"].startswith("session=")
        assert "content-length" not in headers


# What runs where


def test_every_callback_has_an_app_context_of_its_own(served: Served) -> None:
    ends: list[object] = []
    served.app.teardown_appcontext(ends.append)
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        for _ in range(2):
            client.perform(ROOM, action="surroundings")
            assert client.message() == ["tests.app", False, False]
    eventually(lambda: len(ends) == 5)  # request, subscribe, two actions, disconnect


def test_commands_of_one_connection_run_one_after_the_other(served: Served) -> None:
    with served.client() as client, served.client() as other:
        client.subscribe("RoomChannel", room=1)
        other.subscribe("RoomChannel", room=1)
        client.perform(ROOM, action="slowly", seconds=0.05)
        client.perform(ROOM, action="speak", text="after")
        other.perform(ROOM, action="speak", text="meanwhile")
        assert [client.message() for _ in range(3)] == [
            ["guest", "meanwhile"],
            "done",
            ["guest", "after"],
        ]


def test_the_request_is_released(served: Served) -> None:
    def environs() -> int:
        kept = (each for each in gc.get_objects() if type(each) is dict)
        return sum("HTTP_X_TRACE" in each for each in kept)

    gc.disable()  # nobody should need it
    try:
        with served.client(headers={"X-Trace": "7"}) as client:
            (ws,) = served.cable.endpoint.sockets
            with pytest.raises(LocalError, match="was released"):
                _ = ws.headers
            client.subscribe("RoomChannel", room=1)
            eventually(lambda: not environs())
    finally:
        gc.enable()


# What is said


def test_broadcasts_from_anywhere() -> None:
    app, gateway = make_app()

    @app.get("/say")
    def say() -> str:
        gateway.broadcast("room_1", "from a view")
        return "said"

    with Served(app) as served, served.client() as client:
        client.subscribe("RoomChannel", room=1)
        app.test_client().get("/say")
        assert client.message() == "from a view"
        gateway.broadcast("room_1", "from a shell")
        assert client.message() == "from a shell"
        thread = threading.Thread(target=gateway.broadcast, args=("room_1", "thread"))
        thread.start()
        assert client.message() == "thread"
        thread.join()
        with pytest.raises(TypeError):
            gateway.broadcast("room_1", object())


def test_heartbeats(served: Served) -> None:
    app, _ = make_app(GATEWAY_PING_INTERVAL=0.1)
    with Served(app) as fast, fast.connect() as ws:
        assert ws.receive() == '{"type":"welcome"}'
        assert str(ws.receive(5)).startswith('{"type":"ping","message":1')


def test_a_channel_can_disconnect_its_client(served: Served) -> None:
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        client.perform(ROOM, action="leave")
        assert client.receive() == {
            "type": "disconnect",
            "reason": "remote",
            "reconnect": False,
        }
        assert client.ws.wait_closed(5)


def test_bad_input_is_logged_and_ignored(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.cable")
    with served.client() as client:
        for bad in ("hello", b"\0binary", '{"command":"dance"}', "[" * 30_000):
            client.ws.send(bad)
        assert client.subscribe("RoomChannel", room=1) == "confirm_subscription"
    text = caplog.text
    assert text.count("ignored: not a command") == 2
    assert "ignored: binary message" in text
    assert "ignored: unknown command 'dance'" in text


def test_anycables_client_gets_no_second_confirmation(served: Served) -> None:
    with served.client(ANYCABLE) as client:
        client.subscribe("RoomChannel", room=1)
        client.send(command="subscribe", identifier=ROOM)
        client.perform(ROOM, action="speak", text="next")
        assert client.message() == ["guest", "next"]


# Bare sockets


def test_a_bare_socket(served: Served) -> None:
    with served.connect("/shout/2", subprotocols=["shout"]) as ws:
        assert ws.subprotocol == "shout"
        ws.send("hi")
        assert ws.receive() == "HIHI"
    with pytest.raises(HandshakeRefused, match="404"):
        served.connect("/shout/many")
    with pytest.raises(HandshakeRefused, match="403 FORBIDDEN: Pages of this origin"):
        served.connect("/shout/2", origin="https://evil.net")


def test_bare_sockets_can_be_registered_before_the_app() -> None:
    gateway = Gateway()

    @gateway.websocket("/early")
    def early(ws: WebSocket) -> None:
        ws.send(flask.current_app.name)

    app = Flask("tests.late")
    gateway.init_app(app)
    with Served(app) as served, served.connect("/early") as ws:
        assert ws.receive() == "tests.late"


def test_one_handler_may_have_several_addresses() -> None:
    app, gateway = make_app()

    app.add_url_rule("/", "echo", lambda: "a view of the same name")

    @gateway.websocket("/echo")
    @gateway.websocket("/echo/<word>", endpoint="echo_word")
    def echo(ws: WebSocket, word: str = "echo") -> None:
        ws.send(word)

    with Served(app) as served:
        for path, word in (("/echo", "echo"), ("/echo/hi", "hi")):
            with served.connect(path) as ws:
                assert ws.receive() == word
    with app.test_request_context():
        assert flask.url_for("echo_word", word="hi") == "ws://localhost/echo/hi"
        assert flask.url_for("gateway.websocket/echo") == "ws://localhost/echo"


def test_who_may_open_a_bare_socket_is_decided_in_the_request() -> None:
    app, gateway = make_app()

    def member(club: str) -> str | bool | int:
        if "name" not in flask.session:
            flask.abort(401, "Who are you?")
        name: str = flask.session["name"]
        if name == "nobody":
            return 0
        return f"{name} of {club}" if name != "banned" else False

    @gateway.websocket("/clubs/<club>", authorize=member)
    def talk(ws: WebSocket, member: str | int, club: str) -> None:
        ws.send(f"{member} talks in {club}")

    with Served(app) as served:
        with pytest.raises(HandshakeRefused, match="401"):
            served.connect("/clubs/chess")
        with pytest.raises(HandshakeRefused, match="403 FORBIDDEN: You may not open"):
            served.connect("/clubs/chess", headers=served.cookie({"name": "banned"}))
        ann = served.cookie({"name": "ann"})
        with served.connect("/clubs/chess", headers=ann) as ws:
            assert ws.receive() == "ann of chess talks in chess"
        nobody = served.cookie({"name": "nobody"})
        with served.connect("/clubs/chess", headers=nobody) as ws:
            assert ws.receive() == "0 talks in chess"


# Serving


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/cable", 404, "Page not found"),
        ("/shout/2", 426, "WebSocket only"),
    ],
)
def test_a_plain_get(served: Served, path: str, status: int, text: str) -> None:
    client = RawClient(served.port)
    got = client.request(path, {"Upgrade": None, "Connection": "close"})
    assert got[0] == status
    assert text in got[2].decode()


@pytest.mark.parametrize("path", ["/cable", "/shout/2"])
def test_another_server_is_told_how_to_serve_it(path: str) -> None:
    """Flask's own test client stands for a server that cannot upgrade."""
    client = make_app()[0].test_client()
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for headers in (upgrade, {}):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 426
        assert "gateway serve" in answer.text


def test_health_and_draining(served: Served) -> None:
    http = served.app.test_client()
    health = http.get("/health").json
    assert health is not None
    assert (health["status"], health["live"], health["ready"]) == ("ok", True, True)
    with served.client() as client:
        draining = gevent.spawn(served.cable.drain)
        assert client.receive() == {
            "type": "disconnect",
            "reason": "server_restart",
            "reconnect": True,
        }
        assert client.ws.wait_closed(5)
        assert client.ws.close_code == 1001
        assert http.get("/health").status_code == 503
        assert http.get("/health/live").status_code == 200
        with pytest.raises(HandshakeRefused, match="503"):
            served.connect()
        draining.kill()


def test_statistics(served: Served) -> None:
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        figures = served.cable.statistics()
        assert (figures.sockets, figures.streams, figures.opened) == (1, 1, 1)
        assert figures.messages_in == 1
        assert figures.messages_out >= 2
    eventually(lambda: served.cable.statistics().closed == {"closed_by_peer": 1})


def test_a_server_that_was_stopped_begins_anew(served: Served) -> None:
    server = served.cable
    with served.client() as client:
        client.subscribe("RoomChannel", room=1)
        first = server.endpoint
        server.draining = True
        server.stop()
        server.stop()  # again is harmless
        assert client.ws.wait_closed(5)
    with served.client() as client:
        assert server.endpoint is not first
        client.subscribe("RoomChannel", room=1)
        server.broadcast("room_1", "again")
        assert client.message() == "again"
        assert server in server.running


# Wrong use


@pytest.mark.parametrize("make", [Gateway, lambda: Channels(Blueprint("b", __name__))])
def test_two_channels_of_one_name(make: Callable[[], Any]) -> None:
    registry = make()

    def define() -> None:
        @registry.channel
        class SameChannel(Channel): ...

    define()
    with pytest.raises(LocalError, match="two channels are called SameChannel"):
        define()


def test_a_blueprints_channel_is_called_as_one_of_the_gateways() -> None:
    app, _ = make_app()
    blueprint = Blueprint("rooms", __name__)

    @Channels(blueprint).channel
    class RoomChannel(Channel): ...

    with pytest.raises(LocalError, match="two channels are called RoomChannel"):
        app.register_blueprint(blueprint)


def test_two_connection_classes() -> None:
    gateway = Gateway()

    class One(Connection): ...

    class Other(Connection): ...

    assert gateway.connection(One) is gateway.connection(One)
    with pytest.raises(LocalError, match=r"clients connect as .*One already: .*Other"):
        gateway.connection(Other)


@pytest.mark.parametrize("thing", [Connection, dict, make_app, "RoomChannel"])
def test_what_is_no_channel(thing: Any) -> None:
    for register in (Gateway().channel, Channels(Blueprint("b", __name__)).channel):
        with pytest.raises(LocalError, match=r"is no channel: derive it from Channel"):
            register(thing)


@pytest.mark.parametrize("thing", [Channel, dict, make_app, "AppConnection"])
def test_what_is_no_connection(thing: Any) -> None:
    with pytest.raises(LocalError, match=r"is no connection: derive it from Connecti"):
        Gateway().connection(thing)


@pytest.mark.parametrize("decorator", ["channel_as", "websocket"])
def test_a_decorator_that_was_told_nothing(decorator: str) -> None:
    with pytest.raises(LocalError, match=rf"write @gateway\.{decorator}\("):
        getattr(Gateway(), decorator)(Channel)


def test_a_gateway_without_an_app() -> None:
    with pytest.raises(LocalError, match=r"call init_app\(app\)"):
        Gateway().broadcast("s", 1)


def test_an_app_has_one_gateway() -> None:
    app = Flask("one")
    gateway = Gateway(app)
    for again in (gateway, Gateway()):
        with pytest.raises(LocalError, match="'one' has a gateway already"):
            again.init_app(app)


def test_a_stream_has_a_name() -> None:
    for name in (None, 7, ""):
        with pytest.raises(LocalError, match=f"a stream is named by a .* not {name!r}"):
            make_app()[1].broadcast(name, 1)  # type: ignore[arg-type]


def test_several_apps_need_a_context() -> None:
    gateway = Gateway()
    apps = [Flask("one"), Flask("two")]
    for app in apps:
        gateway.init_app(app)
    with pytest.raises(LocalError, match="several apps"):
        gateway.broadcast("s", 1)
    with apps[0].app_context():
        assert gateway.server is apps[0].extensions["gateway"]
    with Flask("three").app_context(), pytest.raises(LocalError, match="several apps"):
        gateway.broadcast("s", 1)


def test_a_gateway_speaks_to_its_own_app_even_within_another() -> None:
    apps = [Flask("one"), Flask("two")]
    gateways = [Gateway(app) for app in apps]
    with apps[1].app_context():
        assert gateways[0].server is apps[0].extensions["gateway"]
        assert gateways[1].server is apps[1].extensions["gateway"]


def test_a_gateway_keeps_no_app_alive() -> None:
    gateway = Gateway()
    app = Flask("short-lived")
    gateway.init_app(app)
    del app
    gc.collect()
    with pytest.raises(LocalError, match="no app yet"):
        gateway.broadcast("s", 1)


def test_the_config_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_ENV", "development")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "cable.yml").write_text("development: {path: /live}")
    (tmp_path / "shop").mkdir()
    for root in (tmp_path, tmp_path / "shop"):
        app = Flask("shop", root_path=str(root))
        Gateway(app)
        assert app.extensions["gateway"].settings.path == "/live"
    named = tmp_path / "other.yml"
    named.write_text("development: {path: 7}")
    app = Flask("shop")
    app.config["GATEWAY_CONFIG"] = named
    with pytest.raises(ConfigError, match="path = 7"):
        Gateway(app)
