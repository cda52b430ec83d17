"""What HTTP requests are answered: upgrades, event streams, pages for machines.

Each view finds the server of the current app. Nothing is sent before it has decided:
who may not come gets plain HTTP, who may gets ``101 Switching Protocols``.
"""

from gateway.views.answers import current_server
from gateway.views.connecting import Handshake
from gateway.views.routes import add_routes, add_socket_rule
from gateway.views.sockets import bare_socket

__all__ = [
    "Handshake",
    "add_routes",
    "add_socket_rule",
    "bare_socket",
    "current_server",
]
