"""What servers say is read, or refused."""

from __future__ import annotations

import pytest

from gateway.consumer.frames import BadFrame, Frame, Place, read


def test_a_frame_has_a_few_of_the_fields() -> None:
    assert read('{"type":"welcome","sid":"x"}') == Frame(type="welcome")
    assert read('{"identifier":"i","message":null}') == Frame(identifier="i")
    assert read(
        '{"identifier":"i","message":1,"stream_id":"s","epoch":"e","offset":7}'
    ) == Frame(identifier="i", message=1, stream_id="s", epoch="e", offset=7)
    confirmed = read('{"streams":{"s":{"epoch":"e","offset":7}}}')
    assert confirmed.streams == {"s": Place("e", 7)}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"{}", "binary"),
        ("", "not a frame of a cable: Input data was truncated"),
        ("7", "Expected `object`, got `int`"),
        ('{"offset":"7"}', r"Expected `int \| null`, got `str` - at `\$.offset`"),
        ("[" * 100_000, "not a frame"),
    ],
)
def test_what_is_none(message: str | bytes, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        read(message)
