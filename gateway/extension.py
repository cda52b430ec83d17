"""``Gateway``, the Flask extension: what a program registers, and how it speaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import ReferenceType, ref

import flask
from flask import Blueprint, Flask
from flask.sansio.blueprints import BlueprintSetupState

from gateway import config, views
from gateway.cable import naming
from gateway.cable.channel import Channel
from gateway.cable.connection import Connection
from gateway.errors import LocalError
from gateway.server import CableServer
from gateway.session import ConnectionInfo
from gateway.views import current_server

__all__ = ["Channels", "Gateway"]

ConnectionClass = TypeVar("ConnectionClass", bound=type[Connection])
ChannelClass = TypeVar("ChannelClass", bound=type[Channel])
Handler = TypeVar("Handler", bound=Callable[..., object])


class Gateway:
    """Adds a cable, and bare WebSockets, to a Flask app.

    >>> from flask import Flask
    >>> from gateway import Channel, Gateway
    >>> app = Flask("shop")
    >>> gateway = Gateway(app)
    >>> @gateway.channel
    ... class PricesChannel(Channel):
    ...     def subscribed(self):
    ...         self.stream_from("prices")
    >>> gateway.broadcast("prices", {"apples": 3})

    With an application factory, make it without an app and call :meth:`init_app`. The
    settings are those of :class:`gateway.config.Settings`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._channels: dict[str, type[Channel]] = {}
        self._connection: type[Connection] = Connection
        self._sockets: list[Callable[[Flask], None]] = []
        self._apps: list[ReferenceType[Flask]] = []  # those that are alive
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give ``app`` a cable, a health page, and the registered bare sockets.

        Raises:
            ConfigError: a setting is wrong; says the key, the value and the fix.
            LocalError: the app has a gateway already.
        """
        if "gateway" in app.extensions:
            raise LocalError(
                f"{app.name!r} has a gateway already: write Gateway(app), or Gateway() "
                "and init_app(app), but not both"
            )
        settings = config.load(_config_file(app), app.config)
        server = CableServer(settings, app, app.app_context, self._channels)
        app.extensions["gateway"] = server
        self._apps.append(ref(app, self._apps.remove))
        views.add_routes(app, settings, lambda: self._connection())
        for add in self._sockets:
            add(app)

    def connection(self, cls: ConnectionClass) -> ConnectionClass:
        """Class decorator: clients connect as this subclass of :class:`Connection`.

        Raises:
            LocalError: it is none, or another one was given before.
        """
        _check_class(cls, Connection, "connection")
        if self._connection not in (Connection, cls):
            raise LocalError(
                f"clients connect as {_full_name(self._connection)} already: they "
                f"cannot connect as {_full_name(cls)}, too"
            )
        self._connection = cls
        return cls

    def channel(self, cls: ChannelClass) -> ChannelClass:
        """Class decorator: clients may subscribe to this channel by its name.

        Raises:
            LocalError: it is no channel, or there is another one of this name.
        """
        return _register(self._channels, cls, self.broadcast)

    def channel_as(self, name: str) -> Callable[[ChannelClass], ChannelClass]:
        """The same by another name: ``Admin::ChatChannel``, as Rails would have it.

        Its streams are then called ``admin:chat:…``.
        """
        return _registering(self._channels, self.broadcast, name)

    def websocket(
        self,
        rule: str,
        *,
        authorize: Callable[..., Any] | None = None,
        subprotocols: Sequence[str] = (),
        compression: bool = True,
        **options: Any,
    ) -> Callable[[Handler], Handler]:
        """Decorator: ``handler(ws, **view_args)`` serves the bare WebSockets of a
        route.

        It runs in a greenlet of its own until it returns; the socket is then closed.
        It has an app context, but the request is over by then. Before, the app's
        ``before_request`` functions run as for any request; pages of foreign origins
        are refused with 403, as on the cable (``allowed_origins``).

        ``authorize(**view_args)`` decides within the request who may come: it aborts
        (``flask.abort(401)``) or returns False to refuse; anything else that it returns
        is handed on, ``handler(ws, what_it_returned, **view_args)``.

        Of the ``subprotocols``, the first that the client offers is chosen. Further
        ``options`` go to ``app.add_url_rule``; the endpoint is ``gateway.websocket``
        and the rule, unless it is given.

        >>> from flask import Flask
        >>> app = Flask("shop")
        >>> gateway = Gateway(app)
        >>> @gateway.websocket("/echo")
        ... def echo(ws):
        ...     for message in ws:
        ...         ws.send(message)
        """
        if not isinstance(rule, str):
            raise LocalError('write @gateway.websocket("/path"), with the address')
        endpoint = options.pop("endpoint", None) or f"gateway.websocket{rule}"
        terms = {"subprotocols": subprotocols, "compression": compression}

        def decorate(handler: Handler) -> Handler:
            def add(app: Flask) -> None:
                view = partial(views.bare_socket, handler, authorize, terms)
                views.add_socket_rule(app, rule, endpoint, view, **options)

            self._sockets.append(add)
            for app in self._living():
                add(app)
            return handler

        return decorate

    @property
    def server(self) -> CableServer:
        """The running part: of the current app, or of the only one there is."""
        apps = self._living()
        if len(apps) > 1:
            current = flask.current_app
            apps = [app for app in apps if current and current == app]
        if not apps:
            raise LocalError(
                "this gateway has several apps: use it within app.app_context()"
                if self._apps
                else "this gateway has no app yet: call init_app(app)"
            )
        server: CableServer = apps[0].extensions["gateway"]
        return server

    def _living(self) -> list[Flask]:
        return [app for each in self._apps if (app := each()) is not None]

    def broadcast(
        self, stream: str, message: Any, exclude: Connection | None = None
    ) -> None:
        """Send ``message`` to every client that streams from ``stream``.

        ``message`` is anything JSON has a word for. Usable in views, channels, jobs.
        ``exclude`` is a connection that shall not hear it (``self.connection``, in a
        channel); streams that are conflated tell all the same.

        Raises:
            TypeError: JSON has no word for it.
            PubSubError: the broker did not take it.
        """
        naming.check_stream(stream)
        self.server.broadcast(stream, message, exclude)

    def disconnect(self, *, reconnect: bool = True, **identifiers: Any) -> None:
        """Send all connections away that have these identifiers, in every process.

        >>> from flask import Flask
        >>> app = Flask("shop")
        >>> gateway = Gateway(app)
        >>> gateway.disconnect(current_user="ann", reconnect=False)

        Values are those of ``identified_by``, or what they are known by: a thing with
        an ``id`` as the thing itself, or as ``"User/7"``.

        Raises:
            LocalError: no identifier is given, or one is None or has no name.
            PubSubError: the broker did not take it.
        """
        if not identifiers:
            raise LocalError(
                "say whom to disconnect, by identifiers: disconnect(current_user=...)"
            )
        for name, value in identifiers.items():
            if naming.itself(value) is None:
                raise LocalError(
                    f"{name} is None, which would name nobody: give the value of those "
                    "who shall go, or leave it out"
                )
        self.server.disconnect(identifiers, reconnect=reconnect)

    def history(
        self, stream: str, *, limit: int | None = None, since: float | None = None
    ) -> list[Any]:
        """What is kept of a stream: its messages, oldest first.

        At most the last ``limit``, or those published at ``since`` (Unix seconds) and
        later. Raises :exc:`PubSubError` if the broker does not answer.
        """
        return self.server.history(stream, limit=limit, since=since)

    def presence(self, stream: str) -> dict[str, Any]:
        """Who is present on a stream: what is known about each, by id."""
        return self.server.pubsub.present(stream)

    def connections(self) -> list[ConnectionInfo]:
        """The clients of this process: who, since when, what they hear and hold up."""
        return self.server.connections()


class Channels:
    """Channels that come with a blueprint, for whatever app it is registered on.

    >>> from flask import Blueprint
    >>> from gateway import Channel, Channels
    >>> shop = Blueprint("shop", __name__)
    >>> channels = Channels(shop)
    >>> @channels.channel
    ... class PricesChannel(Channel):
    ...     def subscribed(self):
    ...         self.stream_from("prices")
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._channels: dict[str, type[Channel]] = {}
        blueprint.record(self._bring)

    def channel(self, cls: ChannelClass) -> ChannelClass:
        """Class decorator: as :meth:`Gateway.channel`."""
        return _register(self._channels, cls, _broadcast_to_current_app)

    def channel_as(self, name: str) -> Callable[[ChannelClass], ChannelClass]:
        """As :meth:`Gateway.channel_as`."""
        return _registering(self._channels, _broadcast_to_current_app, name)

    def _bring(self, state: BlueprintSetupState) -> None:
        server: CableServer | None = state.app.extensions.get("gateway")
        if server is None:
            raise LocalError(
                f"the blueprint {state.blueprint.name!r} brings channels: call "
                "gateway.init_app(app) before app.register_blueprint(...)"
            )
        for name, cls in self._channels.items():
            _check_name(name, cls, server.channels)
        server.own_channels.update(self._channels)


# Registering.

Broadcast = Callable[[str, Any], None]


def _register(
    channels: dict[str, type[Channel]],
    cls: ChannelClass,
    broadcast: Broadcast,
    name: str | None = None,
) -> ChannelClass:
    _check_class(cls, Channel, "channel")
    if name is not None and cls.channel_name == naming.channel_name(cls.__name__):
        cls.channel_name = naming.channel_name(name)
    name = name or cls.__name__
    _check_name(name, cls, channels)
    channels[name] = cls
    # Whoever registers it is who it speaks through; if several do, the current app is.
    others = vars(cls).get("_broadcast", broadcast)
    cls._broadcast = broadcast if others == broadcast else _broadcast_to_current_app
    return cls


def _registering(
    channels: dict[str, type[Channel]], broadcast: Broadcast, name: str
) -> Callable[[ChannelClass], ChannelClass]:
    if not isinstance(name, str):
        raise LocalError('write @gateway.channel_as("Name"), with the name')
    return partial(_register, channels, broadcast=broadcast, name=name)


def _check_class(cls: object, base: type, what: str) -> None:
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise LocalError(f"{cls!r} is no {what}: derive it from {base.__name__}")


def _check_name(
    name: str, cls: type[Channel], channels: Mapping[str, type[Channel]]
) -> None:
    known = channels.get(name, cls)
    if known is not cls:
        raise LocalError(
            f"two channels are called {name}: {known.__module__} has one, "
            f"{cls.__module__} another; clients know them by name"
        )


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _broadcast_to_current_app(stream: str, message: Any) -> None:
    if not flask.current_app:
        raise LocalError(
            "this channel belongs to a blueprint, or to several gateways: use it "
            "within app.app_context()"
        )
    current_server().broadcast(stream, message)


def _config_file(app: Flask) -> Path | None:
    """``GATEWAY_CONFIG``, else ``config/cable.yml`` in or beside the app's folder."""
    root = Path(app.root_path)
    return config.find((root, root.parent), app.config.get("GATEWAY_CONFIG"))
