"""RFC 6455 WebSockets in greenlets. Knows no cable and no Flask; patches nothing.

Where to start reading: ``socket`` (what an open connection can do), ``link`` (what the
loop does with it), ``outbox`` (how bytes leave), ``inbox`` (how they come in),
``upgrade`` (how HTTP becomes a WebSocket), ``client`` and ``server``.
"""

from gateway.websocket.client import connect
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.frames import Message
from gateway.websocket.handshake import Request
from gateway.websocket.limits import Limits
from gateway.websocket.multicast import Multicast
from gateway.websocket.origins import Origins
from gateway.websocket.reconnect import Backoff, ReconnectingWebSocket
from gateway.websocket.server import WebSocketServer
from gateway.websocket.socket import Listener, WebSocket
from gateway.websocket.upgrade import Upgrade, UpgradeHandler

__all__ = [
    "Backoff",
    "Endpoint",
    "Limits",
    "Listener",
    "Message",
    "Multicast",
    "Origins",
    "ReconnectingWebSocket",
    "Request",
    "Upgrade",
    "UpgradeHandler",
    "WebSocket",
    "WebSocketServer",
    "connect",
]
