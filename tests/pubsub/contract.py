"""What every adapter must do. An adapter's test file subclasses this one suite.

A third party's adapter can be tested in the same way: provide ``make``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import time
from typing import Any

import gevent
import msgspec
import pytest

from gateway.cable import presence
from gateway.cable.history import Recall, Retention, Retentions
from gateway.cable.publication import Publication
from gateway.pubsub.base import PubSub
from tests.support import eventually

__all__ = ["Contract"]


class Contract(ABC):
    """Subclass it, name the class ``Test…``, and say how an adapter is made."""

    @abstractmethod
    def make(self, retentions: Retentions | None = None) -> PubSub:
        """A new adapter; all that one test makes can hear each other, if any can."""

    def started(self) -> tuple[PubSub, list[tuple[str, bytes]]]:
        """An adapter, and what it delivers."""
        pubsub, heard = self.make(), []
        pubsub.start(
            lambda stream, said: heard.append((stream, said.message)), lambda _: None
        )
        return pubsub, heard

    def test_what_is_published_is_delivered_in_order(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        for number in range(100):
            pubsub.publish("s", Publication(b"%d" % number))
        eventually(lambda: len(heard) == 100)
        assert heard == [("s", b"%d" % number) for number in range(100)]
        pubsub.close()

    def test_only_streams_that_are_subscribed_to(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("a")
        pubsub.subscribe("b")
        pubsub.unsubscribe("a")
        pubsub.publish("a", Publication(b"1"))
        pubsub.publish("never", Publication(b"2"))
        pubsub.publish("b", Publication(b"3"))
        eventually(lambda: heard)
        assert heard == [("b", b"3")]
        pubsub.close()

    def test_subscribing_twice_is_harmless(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        pubsub.subscribe("s")
        pubsub.publish("s", Publication(b"1"))
        pubsub.publish("s", Publication(b"2"))
        eventually(lambda: len(heard) >= 2)
        assert heard == [("s", b"1"), ("s", b"2")]
        pubsub.close()

    def test_subscribing_again(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        pubsub.unsubscribe("s")
        pubsub.subscribe("s")
        pubsub.publish("s", Publication(b"1"))
        eventually(lambda: heard == [("s", b"1")])
        pubsub.close()

    def test_odd_names_and_contents(self) -> None:
        pubsub, heard = self.started()
        sent = [
            ("ünïcode 💬", '"ünïcode 💬"'.encode()),
            ("with:colons and\nlines", b'""'),
            ("*", b"null"),
            ("x" * 5000, b'"' + b"y" * 300_000 + b'"'),
        ]
        for stream, _ in sent:
            pubsub.subscribe(stream)
        for stream, message in sent:
            pubsub.publish(stream, Publication(message))
        eventually(lambda: len(heard) == len(sent))
        assert heard == sent
        pubsub.close()

    def test_who_is_excluded_travels_along(self) -> None:
        pubsub, heard = self.make(), []
        pubsub.start(lambda stream, said: heard.append(said.exclude), lambda _: None)
        pubsub.subscribe("s")
        pubsub.publish("s", Publication(b"1", exclude="a-7"))
        eventually(lambda: heard == ["a-7"])
        pubsub.close()

    def test_unsubscribing_from_nothing(self) -> None:
        pubsub, _ = self.started()
        pubsub.unsubscribe("never")
        pubsub.close()

    def test_publishing_without_listening(self) -> None:
        pubsub = self.make()
        pubsub.publish("s", Publication(b"1"))
        pubsub.close()

    def test_nothing_is_delivered_after_closing(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        pubsub.close()
        pubsub.publish("s", Publication(b"1"))
        witness, witnessed = self.started()
        witness.subscribe("s")
        witness.publish("s", Publication(b"2"))
        eventually(lambda: witnessed == [("s", b"2")])
        witness.close()
        pubsub.close()  # again is harmless
        assert heard == []

    def test_processes_hear_each_other_if_the_adapter_says_so(self) -> None:
        here, heard = self.started()
        here.subscribe("s")
        there = self.make()
        there.publish("s", Publication(b"from elsewhere"))
        here.publish("s", Publication(b"from here"))
        eventually(lambda: ("s", b"from here") in heard)
        assert (("s", b"from elsewhere") in heard) is here.shared
        there.close()
        here.close()

    # What is kept.

    def kept(self, pubsub: PubSub, stream: str = "s") -> Recall:
        """What a stream with a history tells."""
        recall = pubsub.recall(stream)
        assert recall is not None
        return recall

    def test_what_is_published_is_kept_under_the_next_offset(self) -> None:
        pubsub = self.make()
        empty = self.kept(pubsub)
        assert empty.position.offset == 0
        assert empty.kept == []
        for number in range(1, 4):
            pubsub.publish("s", Publication(b"%d" % number, exclude="a-7"))
        (epoch, offset), kept = self.kept(pubsub)
        assert (epoch, offset) == (empty.position.epoch, 3)
        assert [(p.message, p.offset) for p in kept] == [
            (b"1", 1),
            (b"2", 2),
            (b"3", 3),
        ]
        assert {(p.epoch, p.exclude, p.transient) for p in kept} == {
            (epoch, "a-7", False)
        }
        assert kept[0].time <= kept[2].time
        assert abs(kept[2].time - time()) < 60
        pubsub.close()

    def test_what_is_delivered_says_its_place(self) -> None:
        pubsub, heard = self.make(), []
        pubsub.start(lambda stream, said: heard.append(said), lambda _: None)
        pubsub.subscribe("s")
        pubsub.publish("s", Publication(b"1"))
        eventually(lambda: heard)
        assert heard == self.kept(pubsub).kept
        pubsub.close()

    def test_as_many_as_were_asked_for_are_kept(self) -> None:
        pubsub = self.make()
        for number in range(150):
            pubsub.publish("s", Publication(b"%d" % number))
        position, kept = self.kept(pubsub)
        assert position.offset == 150
        assert [p.offset for p in kept] == list(range(51, 151))
        pubsub.close()

    def test_nothing_is_kept_for_longer_than_was_asked_for(self) -> None:
        """Though more is published, so that the stream itself lives on."""
        pubsub = self.make(Retentions(Retention(messages=10_000, seconds=0.3)))
        pubsub.publish("s", Publication(b"first"))

        def is_gone() -> bool:
            pubsub.publish("s", Publication(b"later"))
            kept = self.kept(pubsub).kept
            assert kept[-1].message == b"later"
            return kept[0].message == b"later"

        eventually(is_gone)
        position, kept = self.kept(pubsub)
        assert [each.offset for each in kept][-1] == position.offset
        pubsub.close()

    def test_what_is_transient_is_not_kept(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        pubsub.publish("s", Publication(b"1", transient=True))
        eventually(lambda: heard == [("s", b"1")])
        assert self.kept(pubsub).kept == []
        pubsub.close()

    def test_streams_of_odd_names_are_kept_apart(self) -> None:
        pubsub = self.make()
        names = ["a", "a:log", "{a}", "{a}:log", "ünïcode 💬", " "]
        for name in names:
            pubsub.publish(name, Publication(b'"%b"' % name.encode()))
        for name in names:
            (said,) = self.kept(pubsub, name).kept
            assert (said.message, said.offset) == (b'"%b"' % name.encode(), 1)
        pubsub.close()

    def test_many_publish_at_once(self) -> None:
        pubsub, heard = self.started()
        pubsub.subscribe("s")
        for greenlet in [gevent.spawn(self._publish_some, pubsub) for _ in range(5)]:
            greenlet.get()
        offsets = [said.offset for said in self.kept(pubsub).kept]
        assert offsets == list(range(1, 51))
        eventually(lambda: len(heard) == 50)
        pubsub.close()

    def _publish_some(self, pubsub: PubSub) -> None:
        for _ in range(10):
            pubsub.publish("s", Publication(b"1"))

    def test_an_epoch_is_ended_once(self) -> None:
        pubsub = self.make()
        pubsub.publish("s", Publication(b"1"))
        over = self.kept(pubsub).position.epoch
        pubsub.renew("s", over)
        pubsub.publish("s", Publication(b"2"))
        pubsub.renew("s", over)
        (epoch, offset), kept = self.kept(pubsub)
        assert epoch != over
        assert offset == 1
        assert [(each.message, each.offset) for each in kept] == [(b"2", 1)]
        pubsub.close()

    def test_a_stream_that_is_listened_to_keeps_its_place(self) -> None:
        pubsub, _ = self.started()
        pubsub.subscribe("s")
        place = self.kept(pubsub).position
        pubsub.prolong(["s", "never seen"])
        assert self.kept(pubsub).position == place
        pubsub.close()

    # Small things.

    def test_a_thing_is_taken_once(self) -> None:
        pubsub = self.make()
        pubsub.keep("session:é", b"\x00thing", 60)
        assert pubsub.take("session:é") == b"\x00thing"
        assert pubsub.take("session:é") is None
        assert pubsub.take("never") is None
        pubsub.close()

    def test_a_thing_is_not_kept_for_longer(self) -> None:
        pubsub = self.make()
        pubsub.keep("short", b"1", 0.05)
        pubsub.keep("long", b"2", 60)
        gevent.sleep(0.1)
        assert pubsub.take("short") is None
        assert pubsub.take("long") == b"2"
        pubsub.close()

    # Who is present.

    @pytest.fixture
    def linger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who is not heard of is soon gone."""
        monkeypatch.setattr(presence, "LINGER_S", 0.2)

    def events(self) -> tuple[PubSub, list[Any]]:
        """An adapter that hears of a stream's presence, and what it hears."""
        pubsub, heard = self.make(), []

        def deliver(stream: str, said: Publication) -> None:
            assert said.presence
            assert not said.offset
            heard.append(msgspec.json.decode(said.message))

        pubsub.start(deliver, lambda _: None)
        pubsub.subscribe("s")
        return pubsub, heard

    def test_a_member_comes_with_its_first_session_and_goes_with_its_last(
        self,
    ) -> None:
        pubsub, heard = self.events()
        pubsub.join("s", "ann", "tab-1", {"n": 1})
        pubsub.join("s", "ann", "tab-2", {"n": 2})
        pubsub.join("s", "bob", "tab-3", None)
        pubsub.leave("s", "tab-1")
        pubsub.leave("s", "tab-1")
        assert pubsub.present("s") == {"ann": {"n": 2}, "bob": None}
        pubsub.leave("s", "tab-2")
        assert pubsub.present("s") == {"bob": None}
        assert pubsub.present("another") == {}
        eventually(lambda: len(heard) == 3)
        assert heard == [
            {"type": "join", "id": "ann", "info": {"n": 1}},
            {"type": "join", "id": "bob", "info": None},
            {"type": "leave", "id": "ann"},
        ]
        pubsub.close()

    def test_leaving_without_having_come(self) -> None:
        pubsub, heard = self.events()
        pubsub.leave("s", "nobody")
        pubsub.join("s", "ann", "tab", None)
        pubsub.leave("s", "nobody")
        eventually(lambda: len(heard) == 1)
        assert pubsub.present("s") == {"ann": None}
        pubsub.close()

    def test_a_session_stays_who_it_is(self) -> None:
        """Joining again tells more about the member, but is no second one."""
        pubsub, _ = self.events()
        pubsub.join("s", "ann", "tab", 1)
        pubsub.join("s", "ann", "tab", 2)
        assert pubsub.present("s") == {"ann": 2}
        pubsub.leave("s", "tab")
        assert pubsub.present("s") == {}
        pubsub.close()

    def test_a_session_that_becomes_somebody_else_leaves_nobody_behind(self) -> None:
        pubsub, heard = self.events()
        pubsub.join("s", "ann", "tab", None)
        pubsub.join("s", "bob", "tab", None)
        pubsub.leave("s", "tab")
        assert pubsub.present("s") == {}
        eventually(lambda: len(heard) == 4)
        assert [(event["type"], event["id"]) for event in heard] == [
            ("join", "ann"),
            ("leave", "ann"),
            ("join", "bob"),
            ("leave", "bob"),
        ]
        pubsub.close()

    def test_who_is_not_heard_of_any_longer_is_gone(self, linger: None) -> None:
        pubsub, heard = self.events()
        pubsub.join("s", "ann", "here", None)
        pubsub.join("s", "bob", "of a process that died", None)

        def only_ann() -> bool:
            pubsub.touch({"s": ["here"]})
            return pubsub.present("s") == {"ann": None}

        eventually(only_ann)
        eventually(lambda: heard[-1] == {"type": "leave", "id": "bob"})

        def nobody() -> bool:
            pubsub.touch({"s": []})
            return pubsub.present("s") == {}

        eventually(nobody)
        pubsub.touch({"s": ["here", "never came"]})
        assert pubsub.present("s") == {}
        pubsub.close()

    def test_who_has_gone_silent_is_not_present_though_nobody_touches(
        self, linger: None
    ) -> None:
        pubsub, heard = self.events()
        pubsub.join("s", "ann", "of a process that died", None)
        eventually(lambda: pubsub.present("s") == {})
        eventually(lambda: len(heard) == 2)
        assert heard[1] == {"type": "leave", "id": "ann"}
        pubsub.close()

    def test_whoever_is_not_known_is_named(self, linger: None) -> None:
        pubsub, _ = self.events()
        pubsub.join("s", "ann", "here", None)
        pubsub.join("t", "bob", "there", None)
        said = {"s": ["here", "never came"], "t": ["there"], "u": ["é"], "v": []}
        assert pubsub.touch(said) == {"s": ["never came"], "u": ["é"]}
        eventually(lambda: not pubsub.present("s"))
        assert pubsub.touch({"s": ["here"]}) == {"s": ["here"]}
        pubsub.join("s", "ann", "here", None)
        assert pubsub.touch({"s": ["here"]}) == {}
        pubsub.close()

    def test_many_are_still_there(self) -> None:
        pubsub = self.make()
        streams = [f"s{number}" for number in range(250)]
        for stream in streams:
            pubsub.join(stream, "ann", f"of {stream}", None)
        said = {stream: [f"of {stream}"] for stream in streams}
        assert pubsub.touch(said) == {}
        strangers = [f"stranger {number}" for number in range(1100)]
        assert pubsub.touch({**said, "s0": [*strangers, "of s0"]}) == {"s0": strangers}
        pubsub.close()

    def test_a_process_that_was_stopped_for_long_loses_none_of_its_own(
        self, linger: None
    ) -> None:
        """However many they are: only who is not among them has gone silent."""
        pubsub, heard = self.events()
        sessions = [f"session {number}" for number in range(600)]
        for session in ("lost", *sessions):
            pubsub.join("s", f"member of {session}", session, None)
        pubsub.join("t", "bob", "the last to come", None)
        eventually(lambda: not pubsub.present("t"))
        assert pubsub.touch({"s": sessions}) == {}
        eventually(lambda: len(heard) == 602)
        assert heard[601] == {"type": "leave", "id": "member of lost"}
        pubsub.close()

    def test_odd_members(self) -> None:
        pubsub, heard = self.events()
        members = ['"', "é💬", "a\nb", "\\", "x" * 512]
        for member in members:
            pubsub.join("s", member, f"of {member}", {"about": member})
        assert pubsub.present("s") == {m: {"about": m} for m in members}
        for member in members:
            pubsub.leave("s", f"of {member}")
        eventually(lambda: len(heard) == 10)
        assert [event["id"] for event in heard] == [*members, *members]
        pubsub.close()
