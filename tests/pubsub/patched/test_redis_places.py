"""The Redis adapter when what it listens to moves: failovers, slots, nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway.errors import PubSubError
from tests.pubsub.patched.conftest import Listen, is_through
from tests.support import eventually
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer


def test_the_sentinels_make_another_the_master(tmp_path: Path, listen: Listen) -> None:
    with RedisSentinels(tmp_path) as sentinels:
        lost = listen(f"{sentinels.url}-of-others")
        with pytest.raises(PubSubError, match="No master found for 'cable-of-others'"):
            lost.publish("s", b"1")
        ear = listen(sentinels.url)
        ear.subscribe("s")
        eventually(lambda: is_through(ear))
        before = sentinels.master_port()
        sentinels.master.kill()
        eventually(lambda: is_through(ear), 30)
        assert sentinels.master_port() != before
        assert ear.resumed == ["s"]


def test_sentinels_with_a_password(tmp_path: Path, listen: Listen) -> None:
    with RedisSentinels(tmp_path, password="theirs") as sentinels:
        ear = listen(sentinels.url)
        ear.subscribe("s")
        eventually(lambda: is_through(ear))
        for url in (
            sentinels.url.replace("theirs", "wrong"),
            sentinels.url.partition("?")[0],
        ):
            stranger = listen(url)
            with pytest.raises(PubSubError, match="did not take a message") as error:
                stranger.publish("s", b"1")
            assert "wrong" not in str(error.value)


def test_a_slot_of_a_cluster_moves(cluster: RedisCluster, listen: Listen) -> None:
    ear = listen(cluster.url)
    stay = next(s for s in "abcdef" if key_slot(s.encode()) != key_slot(b"s"))
    ear.subscribe("s", stay)
    ear.publish("s", b"1", b"2")
    target = cluster.migrate(key_slot(b"s"))
    eventually(lambda: ear.resumed)
    assert set(ear.resumed) == {"s"}
    eventually(lambda: is_through(ear))
    eventually(lambda: is_through(ear, stay))
    assert (
        ear.pubsub._places._places[b"s"]
        is ear.pubsub._places._listeners[target.address]
    )
    kept = ear.pubsub.recall("s")
    assert kept is not None
    assert [each.message for each in kept.kept][:2] == [b"1", b"2"]  # keys moved too


def test_a_slot_has_moved_before_we_know(cluster: RedisCluster, listen: Listen) -> None:
    """We ask the node that had it; it says where to go."""
    ear = listen(cluster.url)
    ear.subscribe("other")
    cluster.migrate(key_slot(b"late"))
    ear.subscribe("late")
    eventually(lambda: is_through(ear, "late"))


def test_a_node_of_a_cluster_is_away_for_a_while(
    cluster: RedisCluster, listen: Listen
) -> None:
    ear = listen(cluster.url)
    ear.subscribe("s")
    node = cluster.owner(key_slot(b"s"))
    node.kill()
    eventually(lambda: not ear.pubsub.health().up)
    node.start()
    eventually(lambda: is_through(ear), 30)
    eventually(lambda: "s" in ear.resumed)


def test_a_whole_cluster_is_away_for_a_while(
    cluster: RedisCluster, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    ear = listen(cluster.url)
    ear.subscribe("s", "t")
    for node in cluster.nodes:
        node.kill()
    eventually(lambda: "the cluster is being rearranged" in caplog.text, 30)
    for node in cluster.nodes:
        node.start()
    for stream in ("s", "t"):
        eventually(lambda s=stream: is_through(ear, s), 30)
    eventually(lambda: {"s", "t"} <= set(ear.resumed))


def test_what_moves_is_followed_once_however_long_it_takes(
    cluster: RedisCluster, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt to come back asks where all the channels are."""
    ear = listen(cluster.url)
    streams = {f"s{number}" for number in range(200)}
    ear.subscribe(*streams)
    places, looked = ear.pubsub._places, []
    refresh = places._servers.refresh
    monkeypatch.setattr(
        places._servers, "refresh", lambda: looked.append(1) or refresh()
    )
    for node in cluster.nodes:
        node.kill()
    eventually(lambda: len(looked) > 20, 30)
    assert len(places._moving) <= len(streams)
    for node in cluster.nodes:
        node.start()
    eventually(lambda: set(ear.resumed) == streams, 30)
    for stream in ("s0", "s199"):
        eventually(lambda s=stream: is_through(ear, s), 30)
    assert len(places.listeners) == 3
    assert all(listener._greenlet for listener in places.listeners)


def test_no_node_of_a_cluster_is_there(redis: RedisServer, listen: Listen) -> None:
    redis.kill()
    ear = listen(f"redis+cluster://{redis.address}")
    with pytest.raises(PubSubError, match="did not take a message for 's'"):
        ear.publish("s", b"1")
    with pytest.raises(PubSubError, match="is not there to subscribe to 's'"):
        ear.subscribe("s")
