"""The plugin, in projects of their own."""

from __future__ import annotations

import pytest


def test_the_plugin_needs_no_configuration(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest
        from flask import Flask
        from gateway import Channel, Gateway
        from gateway.testing import assert_broadcasts

        @pytest.fixture
        def app():
            app = Flask("shop")
            app.config["GATEWAY_ADAPTER"] = "test"
            Gateway(app)
            return app

        def test_the_environment_is_test():
            assert os.environ["GATEWAY_ENV"] == "test"

        @pytest.mark.parametrize("turn", [1, 2])
        def test_broadcasts_are_forgotten(live_gateway, turn):
            live_gateway.cable.broadcast("news", turn)
            assert_broadcasts("news", 1)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


MODULE_APP = """
    from flask import Flask, request, session
    from gateway import Channel, Connection, Gateway, action

    app = Flask(__name__)
    app.secret_key = "not secret"
    gateway = Gateway(app)

    @gateway.connection
    class AppConnection(Connection):
        identified_by = ("current_user",)

        def connect(self):
            self.current_user = self.session.get("name") or self.reject()

    @gateway.channel
    class ChatChannel(Channel):
        def subscribed(self):
            self.stream_from(f"chat_{self.params['room_id']}")
            self.transmit(self.history_since(f"chat_{self.params['room_id']}", 60))

        @action
        def speak(self, data):
            gateway.broadcast(f"chat_{self.params['room_id']}", data["message"])

    @gateway.websocket("/echo")
    def echo(ws):
        for message in ws:
            ws.send(message)
"""


def test_an_app_may_outlive_its_tests(pytester: pytest.Pytester) -> None:
    """It is made when it is imported: at once, or by the first test that needs it."""
    pytester.makepyfile(shop=MODULE_APP, late=MODULE_APP)
    pytester.makeconftest(
        """
        from gevent import monkey; monkey.patch_all()
        import pytest

        @pytest.fixture(params=["shop", "late"])
        def app(request):
            return __import__(request.param).app
        """
    )
    pytester.makepyfile(
        """
        import pytest
        import shop
        from gateway.testing import assert_broadcasts, stub_connection, subscribe

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it_is_served(live_gateway, turn):
            ann = live_gateway.cookie({"name": "ann"})
            with live_gateway.consumer(headers=ann) as consumer:
                room = consumer.subscribe("ChatChannel", room_id=1).wait_confirmed()
                assert room.receive(5) == []
                room.perform("speak", message="hello")
                assert room.receive(5) == "hello"
            with live_gateway.connect("/echo") as ws:
                ws.send("hello")
                assert ws.receive(5) == "hello"
            live_gateway.stop()
            assert_broadcasts("chat_1", 1)

        @pytest.mark.parametrize("turn", [1, 2])
        def test_without_sockets(turn):
            room = subscribe(shop.ChatChannel, stub_connection(name="ann"), room_id=1)
            assert room.transmissions == [[]]
            room.perform("speak", message="hello")
            assert_broadcasts("chat_1", 1)
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=6)


def test_each_test_may_have_an_app_of_its_own(pytester: pytest.Pytester) -> None:
    """Its fixture need not be called ``app``, and no test needs a context."""
    pytester.makepyfile(
        shop="""
        from flask import Flask, current_app
        from gateway import Channel, Gateway, action

        gateway = Gateway()

        @gateway.channel
        class ChatChannel(Channel):
            @action
            def speak(self, data):
                gateway.broadcast("chat", [current_app.name, data["message"]])
                self.broadcast_to(1, current_app.name)

        def create_app(name):
            app = Flask(name)
            gateway.init_app(app)
            return app
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from gateway.server import CableServer
        from gateway.testing import assert_broadcast_on, assert_broadcasts, subscribe
        from shop import ChatChannel, create_app

        @pytest.fixture
        def app(request):
            return create_app(request.node.name)

        @pytest.fixture
        def shop(request):
            return create_app(request.node.name)

        def speak(name):
            subscribe(ChatChannel).perform("speak", message="hello")
            assert_broadcasts("chat", 1)
            assert_broadcast_on("chat", [name, "hello"])
            assert_broadcast_on(1, name, channel=ChatChannel)

        @pytest.mark.parametrize("turn", [1, 2, 3])
        def test_of_the_fixture(app, turn, request):
            speak(request.node.name)

        @pytest.mark.parametrize("turn", [1, 2, 3])
        def test_of_another_name(shop, turn, request):
            speak(request.node.name)

        def test_no_app_is_left():
            assert len(CableServer.running) == 0
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=7)


def test_an_app_that_is_none_of_flasks_is_left_alone(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from gateway import Channel
        from gateway.testing import subscribe

        @pytest.fixture
        def app():
            return "a window"

        def test_it(app):
            assert subscribe(type("AnyChannel", (Channel,), {})).confirmed
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_sockets_may_stay_open_from_test_to_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shop=MODULE_APP)
    pytester.makepyfile(
        """
        from gevent import monkey; monkey.patch_all()
        import pytest
        from shop import app
        from gateway.testing import LiveGateway, assert_broadcasts

        @pytest.fixture(scope="session")
        def room():
            with LiveGateway(app) as live:
                ann = live.cookie({"name": "ann"})
                with live.consumer(headers=ann) as consumer:
                    yield consumer.subscribe("ChatChannel", room_id=1).wait_confirmed()

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it_stays(room, turn):
            room.perform("speak", message=turn)
            while room.receive(5) != turn:
                pass
            assert_broadcasts("chat_1", 1)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)
