"""Test your channels: a kit, and a pytest plugin that is there once gateway is
installed.

Without sockets, :func:`subscribe` a channel and look at what it did. With the whole
app, :func:`cable_client` shakes hands through Flask's own test client, and the fixture
``live_gateway`` serves the app of your fixture ``app`` on a port of its own.

The plugin sets ``GATEWAY_ENV=test`` unless it is set; there the adapter is ``test``,
which keeps what is broadcast. Each test begins with nothing kept.
"""

from __future__ import annotations

from gateway.testing.broadcasts import (
    assert_broadcast_on,
    assert_broadcasts,
    assert_no_broadcasts,
    broadcasts,
    capture_broadcasts,
)
from gateway.testing.clients import LiveGateway, cable_client
from gateway.testing.connections import (
    assert_reject_connection,
    connect,
    stub_connection,
)
from gateway.testing.plugin import (  # noqa: F401  # pytest looks for them here
    each_test_begins_with_nothing,
    live_gateway,
    pytest_load_initial_conftests,
)
from gateway.testing.subscriptions import (
    SubscriptionStub,
    assert_has_no_stream,
    assert_has_no_stream_for,
    assert_has_stream,
    assert_has_stream_for,
    assert_no_streams,
    subscribe,
)

__all__ = [
    "LiveGateway",
    "SubscriptionStub",
    "assert_broadcast_on",
    "assert_broadcasts",
    "assert_has_no_stream",
    "assert_has_no_stream_for",
    "assert_has_stream",
    "assert_has_stream_for",
    "assert_no_broadcasts",
    "assert_no_streams",
    "assert_reject_connection",
    "broadcasts",
    "cable_client",
    "capture_broadcasts",
    "connect",
    "stub_connection",
    "subscribe",
]
