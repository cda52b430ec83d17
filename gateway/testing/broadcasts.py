"""What was broadcast in a test, whoever did it: channels, views, other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from gateway.cable import naming
from gateway.cable.channel import Channel
from gateway.control import CONTROL
from gateway.errors import LocalError
from gateway.pubsub.recording import RecordingPubSub
from gateway.server import CableServer

__all__ = [
    "assert_broadcast_on",
    "assert_broadcasts",
    "assert_no_broadcasts",
    "broadcasts",
    "capture_broadcasts",
]


def broadcasts(stream: Any, *, channel: type[Channel] | None = None) -> list[Any]:
    """What was broadcast to a stream in this test, in order.

    ``stream`` is its name; with a ``channel`` it is the thing that was broadcast to:
    ``broadcasts(room, channel=ChatChannel)``. So it is for all that follow.
    """
    return _everything().get(_name(stream, channel), [])


def assert_broadcasts(
    stream: Any, number: int, *, channel: type[Channel] | None = None
) -> None:
    """So many messages must have been broadcast to a stream in this test."""
    said = broadcasts(stream, channel=channel)
    name = _name(stream, channel)
    assert len(said) == number, (
        f"{len(said)} messages were broadcast to {name!r}, not {number}: "
        f"{_instead(said)}"
    )


def assert_no_broadcasts(
    stream: Any = None, *, channel: type[Channel] | None = None
) -> None:
    """Nothing must have been broadcast to a stream; without one, to any."""
    if stream is None and channel is None:
        assert not _everything(), f"broadcast was {_everything()}"
    else:
        assert_broadcasts(stream, 0, channel=channel)


def assert_broadcast_on(
    stream: Any, message: Any, *, channel: type[Channel] | None = None
) -> None:
    """This message must have been broadcast to a stream in this test."""
    said = broadcasts(stream, channel=channel)
    wanted = msgspec.json.decode(msgspec.json.encode(message))
    name = _name(stream, channel)
    assert wanted in said, f"{wanted!r} was not broadcast to {name!r}: {_instead(said)}"


@contextmanager
def capture_broadcasts(
    stream: Any, *, channel: type[Channel] | None = None
) -> Iterator[list[Any]]:
    """A list that is filled with what is broadcast to a stream within."""
    captured: list[Any] = []
    before = len(broadcasts(stream, channel=channel))
    try:
        yield captured
    finally:
        captured.extend(broadcasts(stream, channel=channel)[before:])


def _name(stream: Any, channel: type[Channel] | None) -> str:
    if channel is not None:
        return channel.broadcasting_for(stream)
    naming.check_stream(stream)
    return str(stream)


def _everything() -> dict[str, list[Any]]:
    """By stream, in all apps. What processes tell each other is nobody's broadcast."""
    servers = list(CableServer.running)
    found = [s.pubsub for s in servers if isinstance(s.pubsub, RecordingPubSub)]
    if servers and not found:
        adapters = ", ".join(server.settings.adapter for server in servers)
        raise LocalError(
            f"nothing is recorded: the adapter is {adapters}; set GATEWAY_ENV=test, "
            "and `adapter: test` in that section of config/cable.yml"
        )
    everything: dict[str, list[Any]] = {}
    for recorder in found:
        for stream, messages in recorder.broadcasts.items():
            if stream != CONTROL:
                everything.setdefault(stream, []).extend(messages)
    return everything


def _instead(said: list[Any]) -> str:
    if said:
        return f"broadcast there was {said}"
    others = _everything()
    return (
        f"nothing was; elsewhere: {others}" if others else "nothing was, nor elsewhere"
    )
