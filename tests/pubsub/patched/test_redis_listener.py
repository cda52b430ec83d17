"""The Redis adapter when Redis dies, hangs, cuts it off, or says no."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import gevent
import pytest
import redis as redis_py

from gateway.errors import PubSubError
from gateway.pubsub import redis_listener
from gateway.pubsub.base import Health
from tests.pubsub.patched.conftest import Ear, Listen, is_through
from tests.support import eventually
from tests.support.redis import RedisServer


def greenlets() -> int:
    """How many there are."""
    return sum(isinstance(each, gevent.Greenlet) for each in gc.get_objects())


# It is gone, and comes back.


def test_redis_is_killed_and_comes_back(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url)
    ear.subscribe("s", "t")
    assert ear.pubsub.health() == Health(up=True)
    redis.kill()
    eventually(lambda: not ear.pubsub.health().up)
    with pytest.raises(PubSubError, match="did not take a message for 's'"):
        ear.publish("s", b"1")
    with pytest.raises(PubSubError, match=r"did not answer: .*refused"):
        ear.pubsub.recall("s")
    with pytest.raises(
        PubSubError, match=r"did not confirm .* 'new' in 0.5 s: .*refused"
    ):
        ear.subscribe("new")
    assert ear.resumed == []
    redis.start()
    eventually(lambda: {"s", "t"} <= set(ear.resumed))
    assert ear.pubsub.health() == Health(up=True, reconnects=1)
    for stream in ("s", "t"):
        eventually(lambda s=stream: is_through(ear, s))


def test_redis_comes_after_us(redis: RedisServer, listen: Listen) -> None:
    redis.kill()
    ear = listen(redis.url)
    with pytest.raises(PubSubError, match="refused"):
        ear.subscribe("s")
    redis.start()
    eventually(lambda: is_through(ear))
    assert ear.pubsub.health() == Health(up=True)


def test_it_is_said_once_that_redis_is_gone(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    listener = ear.pubsub._places.listeners[0]
    redis.kill()
    delays = set()
    eventually(lambda: delays.add(listener._delay) or listener._delay == 1.0)
    assert len(delays) > 3  # it tried again and again
    redis.start()
    eventually(lambda: ear.resumed)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.partition(":")[0] for text in said] == [
        "Redis is gone",
        "Redis is back",
    ]


def test_nothing_is_said_to_be_back_before_it_is(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes and goes; who reads back what was lost would ask in vain."""
    ear = listen(redis.url)
    streams = {f"s{number}" for number in range(300)}
    ear.subscribe(*streams)
    before = greenlets()
    for _ in range(5):
        redis.kill()
        eventually(lambda: not ear.pubsub.health().up)
        redis.start()
        eventually(lambda: ear.pubsub.health().up)
    redis.kill()
    eventually(lambda: not ear.pubsub.health().up)
    ear.resumed.clear()
    assert greenlets() <= before + 1
    redis.start()
    eventually(lambda: set(ear.resumed) == streams)
    assert len(ear.resumed) == len(streams)


def test_an_outage_takes_any_number_of_attempts(
    redis: RedisServer, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    for delay in ("_FIRST_RETRY_S", "_LAST_RETRY_S"):
        monkeypatch.setattr(redis_listener, delay, 0.001)
    ear = listen(redis.url)
    ear.subscribe("s")
    listener = ear.pubsub._places.listeners[0]
    attempts, make = [], listener._connect
    monkeypatch.setattr(listener, "_connect", lambda: attempts.append(1) or make())
    redis.kill()
    eventually(lambda: len(attempts) > 250)
    redis.start()
    eventually(lambda: ear.resumed == ["s"])
    eventually(lambda: is_through(ear))


def test_a_fault_of_our_own_is_no_end(
    redis: RedisServer,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    listener = ear.pubsub._places.listeners[0]
    with monkeypatch.context() as patch:
        patch.setattr(listener, "_connect", lambda: 1 / 0)
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        eventually(lambda: "ZeroDivisionError" in caplog.text)
    eventually(lambda: ear.resumed == ["s"])
    eventually(lambda: is_through(ear))


def test_redis_hangs(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    redis.pause()
    with pytest.raises(PubSubError, match="did not take a message for 's' in 0.5 s"):
        ear.publish("s", b"1")
    with pytest.raises(PubSubError, match=r"did not answer in 0.5 s"):
        ear.pubsub.recall("s")
    eventually(lambda: not ear.pubsub.health().up)
    with pytest.raises(PubSubError, match=r"did not confirm|did not take"):
        ear.subscribe("new")
    redis.resume()
    eventually(lambda: "s" in ear.resumed)
    eventually(lambda: is_through(ear))


def test_redis_hangs_in_the_middle_of_a_command(
    redis: RedisServer, listen: Listen
) -> None:
    """More is asked than the kernel's buffers hold."""
    ear = listen(redis.url)
    ear.subscribe("s")
    redis.pause()
    long = "x" * 2**24
    with pytest.raises(PubSubError, match="did not"):
        ear.subscribe(long)
    eventually(lambda: not ear.pubsub.health().up)
    ear.pubsub.unsubscribe(long)
    redis.resume()
    eventually(lambda: "s" in ear.resumed)
    eventually(lambda: is_through(ear))


def test_a_redis_that_is_only_silent_is_left_alone(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url, timeout_s=0.1)
    ear.subscribe("s")
    eventually(lambda: ear.pubsub.health().lag_s)
    lag = ear.pubsub.health().lag_s
    eventually(lambda: ear.pubsub.health().lag_s != lag)
    assert ear.pubsub.health().reconnects == 0
    eventually(lambda: is_through(ear))


def test_it_is_asked_how_it_is_while_messages_come(
    redis: RedisServer, listen: Listen
) -> None:
    """Never silent for the second after which it is asked anyway."""
    ear = listen(redis.url, timeout_s=2.0)
    ear.subscribe("s")

    def talk() -> None:
        while True:
            ear.publish("s", b"1")

    talking = gevent.spawn(talk)
    try:
        eventually(lambda: ear.pubsub.health().lag_s)
        assert len(ear.heard) > 10
        assert ear.pubsub.health().reconnects == 0
    finally:
        talking.kill()


def test_it_is_asked_how_it_is_before_anything_is_subscribed(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url, timeout_s=0.1)
    ear.subscribe("s")
    ear.pubsub.unsubscribe("s")
    eventually(lambda: ear.pubsub.health().lag_s)
    assert ear.pubsub.health() == Health(lag_s=ear.pubsub.health().lag_s)


def test_our_connections_are_killed(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    for number in range(1, 4):
        assert redis.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        eventually(lambda n=number: len(ear.resumed) == n)
        eventually(lambda: is_through(ear))
    assert ear.pubsub.health().reconnects == 3


def test_we_read_too_slowly_for_redis(redis: RedisServer, listen: Listen) -> None:
    """It cuts the connection, and what was in its buffer is lost; we take it up."""
    limit = "client-output-buffer-limit"
    redis.ask("CONFIG", "SET", limit, "pubsub 200kb 0 0")
    ear = listen(redis.url)
    ear.subscribe("s")
    flood = "for i = 1, 500 do redis.call('PUBLISH', 's', string.rep('1', 10000)) end"
    redis.ask("EVAL", flood, 0)
    eventually(lambda: ear.resumed == ["s"])
    assert len(ear.heard) < 500
    eventually(lambda: is_through(ear))


def test_who_waits_for_what_nobody_wants_any_longer(
    redis: RedisServer, listen: Listen
) -> None:
    """It is told at once, not when its time is up."""
    ear = listen(redis.url, timeout_s=60.0)
    ear.subscribe("s")
    redis.pause()
    waiting = gevent.spawn(ear.subscribe, "t")
    eventually(lambda: b"t" in ear.pubsub._places._places)
    ear.pubsub.unsubscribe("t")
    with pytest.raises(PubSubError, match="did not confirm a subscription to 't'"):
        waiting.get(timeout=10)
    redis.resume()
    eventually(lambda: is_through(ear))


def test_many_channels_come_back(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url)
    streams = [f"s{number}" for number in range(1200)]
    ear.subscribe(*streams)
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    eventually(lambda: set(ear.resumed) == set(streams))
    ear.publish("s0", b"1")
    ear.publish("s1199", b"2")
    eventually(lambda: ear.heard == [("s0", b"1"), ("s1199", b"2")])


def test_what_was_given_up_meanwhile_is_not_taken_up_again(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s", "t")
    redis.kill()
    eventually(lambda: not ear.pubsub.health().up)
    ear.pubsub.unsubscribe("t")
    redis.start()
    eventually(lambda: ear.resumed)
    assert ear.resumed == ["s"]
    assert redis.ask("PUBSUB", "CHANNELS") == ["s"]


def test_closing_while_it_is_gone(redis: RedisServer, listen: Listen) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    redis.kill()
    eventually(lambda: not ear.pubsub.health().up)
    ear.pubsub.close()
    redis.start()
    assert redis.ask("PUBSUB", "CHANNELS") == []


def test_all_ask_at_once(redis: RedisServer, listen: Listen) -> None:
    """As when everybody comes back after a restart: they wait for their turn."""
    ear = listen(redis.url, timeout_s=30.0)
    asking = [gevent.spawn(ear.pubsub.recall, f"s{n}") for n in range(500)]
    saying = [gevent.spawn(ear.publish, f"s{n}", b"1") for n in range(500)]
    gevent.joinall(asking + saying, raise_error=True)
    assert redis.ask("INFO", "clients")["connected_clients"] < 60


def test_a_subscription_overtakes_the_end_of_the_one_before(
    redis: RedisServer, listen: Listen
) -> None:
    """While both wait for the socket. Redis must not hear the end last."""
    ear = listen(redis.url)
    ear.subscribe("s")
    listener = ear.pubsub._places.listeners[0]
    with listener._sending:  # as who subscribes to very much holds it
        ending = gevent.spawn(ear.pubsub.unsubscribe, "s")
        eventually(lambda: b"s" not in listener.channels)
        ear.subscribe("s")  # may send, for the line is ours
    ending.get(timeout=10)
    ear.publish("s", b"1")
    eventually(lambda: ear.heard == [("s", b"1")])
    assert ear.resumed == []


def test_names_that_come_and_go_leave_nothing_behind(
    redis: RedisServer, listen: Listen
) -> None:
    ear = listen(redis.url)
    for number in range(1000):
        ear.subscribe(f"user_{number}")
        ear.pubsub.unsubscribe(f"user_{number}")
    redis.pause()
    hasty = [gevent.spawn(ear.pubsub.subscribe, f"hasty_{n}") for n in range(100)]
    listener = ear.pubsub._places.listeners[0]
    eventually(lambda: len(listener.channels) == 100)
    for number in range(100):
        ear.pubsub.unsubscribe(f"hasty_{number}")
    redis.resume()
    gevent.joinall(hasty)
    eventually(lambda: is_through_to_nobody(ear))
    assert ear.pubsub._streams == ear.pubsub._places._places == {}
    assert listener.channels == []
    eventually(lambda: not listener._abandoned)


def is_through_to_nobody(ear: Ear) -> bool:
    """Whether Redis takes messages."""
    try:
        ear.publish("nobody", b"1")
    except PubSubError:
        return False
    return True


# It says no.


@pytest.mark.parametrize(
    ("password", "why"), [("wrong", "invalid username-password"), ("", "authenticat")]
)
def test_a_wrong_password(
    tmp_path: Path, listen: Listen, password: str, why: str
) -> None:
    """Said in every error, without the password, until it is right."""
    with RedisServer(tmp_path / "guarded", requirepass="right") as guarded:
        secret = f":{password}@" if password else ""
        ear = listen(f"redis://{secret}{guarded.address}/0")
        place = f"redis://{guarded.address}/0 did not"
        with pytest.raises(PubSubError, match=f"(?i){place}.*{why}") as error:
            ear.subscribe("s")
        assert "wrong" not in str(error.value)
        with pytest.raises(PubSubError, match=f"(?i){place}.*{why}") as error:
            ear.publish("s", b"1")
        assert "wrong:" not in str(error.value)
        assert not ear.pubsub.health().up
        guarded.ask("CONFIG", "SET", "requirepass", password)
        guarded.password = password or None
        eventually(lambda: is_through(ear))


def test_nonsense_on_a_channel_harms_nobody(
    redis: RedisServer, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(redis.url)
    ear.subscribe("s")
    redis.ask("PUBLISH", "s", "\x01{")
    redis.ask("PUBLISH", "s", "1")
    eventually(lambda: ear.heard == [("s", b"1")])
    assert "a message on b's' could not be delivered" in caplog.text


def test_redis_is_patched() -> None:
    """Else these tests prove nothing."""
    assert redis_py.retry.sleep is gevent.sleep
