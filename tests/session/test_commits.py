"""Commits wait for peers as told, and a full replica is no error page."""

import pytest

from clustersession.core.errors import ReplicationFailed
from tests.session.fakes import World


def test_ack_policies() -> None:
    world = World(ack="none")
    world.store(a=1)
    assert world.cluster.confirmed == []
    assert world.cluster.feed_heads == [1]
    world = World(ack="one")
    world.cluster.confirms = False
    world.store(a=1)
    assert world.manager.counters.unconfirmed == 1
    world = World(ack="one", ack_failure="error")
    world.cluster.confirms = False
    session = world.open([])
    session["a"] = 1
    with pytest.raises(ReplicationFailed):
        world.commit(session)
    # It is stored here, so the error page carries the cookie.
    assert world.commit(session).set_cookie is not None


@pytest.mark.parametrize("ack", ["none", "one", "all"])
def test_an_end_is_waited_for_whatever_ack_says(ack: str) -> None:
    world = World(ack=ack)
    cookie = world.store(a=1)
    assert world.cluster.ends_confirmed == []
    session = world.open([cookie])
    session.invalidate()
    world.commit(session)
    assert world.cluster.ends_confirmed == [2]
    world = World(ack="none", durability="none")
    session = world.open([world.store(a=1)])
    session.invalidate()
    world.commit(session)
    assert world.cluster.confirmed == []


def test_a_full_replica_is_no_error_page(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    cookie = world.store(a=1)
    world.replica.full = True
    for _ in range(5):
        session = world.open([cookie])
        session["b"] = 1
        assert world.commit(session).set_cookie is None
        fresh = world.open([])
        fresh["a"] = 1
        assert world.commit(fresh).set_cookie is None
    assert world.manager.counters.replica_full == 10
    assert len([r for r in caplog.records if "no space" in r.getMessage()]) == 1
    world.replica.full = False
    assert world.open([cookie]) == {"a": 1}


def test_a_login_on_a_full_replica_does_not_come_later_under_the_old_id() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    session.rotate()
    session["user"] = "ann"
    world.replica.full = True
    assert world.commit(session).set_cookie is None
    world.replica.full = False
    world.save(session)
    # Whoever planted the id before the login must not be logged in with it.
    assert world.open([cookie]) == {"a": 1}


def test_a_logout_on_a_full_replica_is_stored_once_there_is_space(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    cookie, other = world.store(a=1), world.store(b=2)
    session = world.open([cookie])
    session.invalidate()
    world.replica.full = True
    assert "Max-Age=0" in (world.commit(session).set_cookie or "")
    assert len([r for r in caplog.records if "was ended" in r.getMessage()]) == 1
    assert world.open([cookie]) == {}, "this process knows of the logout"
    world.commit(world.open([other]))
    assert len([r for r in caplog.records if "was ended" in r.getMessage()]) == 1
    world.replica.full = False
    world.commit(world.open([other]))
    key = world.signer.key_of(cookie.partition(".")[0])
    assert key is not None
    assert world.replica.states[key].ended is not None, "every process and node knows of it"
    commits = len(world.replica.commits)
    world.commit(world.open([other]))
    assert len(world.replica.commits) == commits, "nothing is owed any more"


def test_a_logout_is_stored_without_what_does_not_fit_beside_it() -> None:
    world = World()
    cookie = world.store(a=1)
    session = world.open([cookie])
    session.invalidate()
    session["flash"] = "goodbye"
    world.replica.takes_ends_only = True
    assert world.commit(session).set_cookie is None
    key = world.signer.key_of(cookie.partition(".")[0])
    assert key is not None
    assert world.replica.states[key].ended is not None
    assert world.cluster.feed_heads == [2], "peers hear of it now"
