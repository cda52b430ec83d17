"""Who is present on one stream, as the memory adapter keeps it."""

from __future__ import annotations

import msgspec

from gateway.cable import presence
from gateway.cable.presence import LINGER_S, PresenceSet


def test_who_is_there_in_words() -> None:
    members = {"ann": {"n": 1}, "bob": None}
    records = [{"id": "ann", "info": {"n": 1}}, {"id": "bob", "info": None}]
    told = msgspec.json.decode(presence.info(members))
    assert told == {"type": "info", "total": 2, "records": records}
    told = msgspec.json.decode(presence.info(members, records=False))
    assert told == {"type": "info", "total": 2}


def test_that_it_cannot_be_told() -> None:
    assert presence.failed() == b'{"type":"error","total":0}'
    assert presence.failed(7) == b'{"type":"error","total":7}'


def test_a_member_stays_as_long_as_any_session() -> None:
    present = PresenceSet()
    assert present.join("ann", "1", None, 0) == [presence.joined("ann", None)]
    assert present.join("ann", "2", "more", 1) == []
    assert present.members == {"ann": "more"}
    assert present.leave("1") is None
    assert present.leave("1") is None
    assert present.leave("2") == presence.left("ann")
    assert present.members == {}


def test_a_session_is_one_member_at_a_time() -> None:
    present = PresenceSet()
    present.join("ann", "1", None, 0)
    present.join("ann", "2", None, 0)
    assert present.join("bob", "1", None, 0) == [presence.joined("bob", None)]
    assert present.join("bob", "2", None, 0) == [presence.left("ann")]
    assert present.join("ann", "2", None, 0) == [presence.joined("ann", None)]


def test_who_is_not_touched_goes() -> None:
    present = PresenceSet()
    present.join("ann", "1", None, 0)
    present.join("bob", "2", None, 0)
    assert present.touch("1", 10)
    assert not present.touch("never came", 10)
    assert present.expire(LINGER_S - 1) == []
    assert present.expire(LINGER_S) == [presence.left("bob")]
    assert present.expire(10 + LINGER_S) == [presence.left("ann")]
