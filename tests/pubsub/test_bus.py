"""Publications on a broker: bare JSON where nothing else is to be said."""

from __future__ import annotations

import pytest

from gateway.cable.publication import Publication
from gateway.pubsub.bus import pack, unpack


def test_a_plain_message_is_bare_json() -> None:
    assert pack(Publication(b'{"a":1}')) == b'{"a":1}'
    assert unpack(b'{"a":1}') == Publication(b'{"a":1}')


@pytest.mark.parametrize(
    "publication",
    [
        Publication(b'"a\\nb"', exclude="f00-1"),
        Publication(b"1", epoch="e", offset=7, time=1.5),
        Publication(b"1", exclude="f00-1", transient=True),
        Publication(b"[\n]", presence=True, transient=True),
    ],
)
def test_what_travels_along(publication: Publication) -> None:
    packed = pack(publication)
    assert packed.startswith(b"\x01{")
    assert packed.endswith(b"}\n" + publication.message)
    assert unpack(packed) == publication


@pytest.mark.parametrize("data", [b"\x01", b"\x01{\nx", b'\x01{"o":"no"}\nx'])
def test_what_is_none_of_ours(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a publication"):
        unpack(data)
