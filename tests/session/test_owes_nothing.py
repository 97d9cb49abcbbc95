"""What a request owes that changed nothing: the access, the route, the cookie's life."""

import pytest

from clustersession.session.visit import visit_of
from tests.session.fakes import World

MINUTE_MS = 60_000


def test_a_session_left_alone_owes_nothing() -> None:
    world = World()
    cookie = world.store(n=1)
    assert world.owes_nothing(world.open([cookie]))
    assert world.owes_nothing(world.open([]))


LOOKS = [lambda s: None, lambda s: s.get("n"), lambda s: s.mark_accessed(), len, dict]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("values", [
    {}, {"consistency": "causal"}, {"cookie_max_age_s": 100}, {"legacy_cookie_name": "session"},
    {"header_name": "X-Session"},
])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_answered_at_once_is_what_a_commit_answers(  # type: ignore[no-untyped-def]
    look, values, known
) -> None:
    world = World(**values)
    cookies = [world.store(n=1)] if known else []
    short, long = world.open(cookies), world.open(cookies)
    look(short)
    look(long)
    if "cookie_max_age_s" not in values or not known:
        assert world.owes_nothing(short)
    world.save(long)
    assert world.commit(short) == world.answer(long)
    assert visit_of(short).answered
    assert visit_of(long).answered


def test_after_a_save_in_the_request_the_client_is_told_what_it_has_seen() -> None:
    world = World(consistency="causal")
    session = world.open([world.store(n=1)])
    session["n"] = 2
    world.save(session)
    assert not world.owes_nothing(session)
    assert world.commit(session).set_seen_cookie is not None


@pytest.mark.parametrize("touch", [
    lambda s: s.update(n=2), lambda s: s.rotate(), lambda s: s.invalidate(),
    lambda s: setattr(s, "principal", "ann"), lambda s: setattr(s, "idle_timeout", 5),
    lambda s: setattr(s, "permanent", True), lambda s: s.mark_modified(),
])
def test_one_that_was_changed_may_owe_something(touch) -> None:  # type: ignore[no-untyped-def]
    world = World()
    session = world.open([world.store(n=1)])
    touch(session)
    assert not world.owes_nothing(session)


def test_an_access_is_owed_when_the_recorded_one_is_too_old() -> None:
    world = World()
    cookie = world.store(n=1)
    world.now_ms += MINUTE_MS
    assert world.owes_nothing(world.open([cookie]))
    world.now_ms += MINUTE_MS
    session = world.open([cookie])
    assert not world.owes_nothing(session)
    world.commit(session)
    assert world.manager.counters.touches == 1
    assert world.owes_nothing(world.open([cookie]))


def test_the_access_is_judged_when_a_long_request_ends() -> None:
    world = World()
    cookie = world.store(n=1)
    session = world.open([cookie])
    world.now_ms += 2 * MINUTE_MS
    assert not world.owes_nothing(session)
    world.commit(session)
    assert world.manager.counters.touches == 1


def test_another_route_is_owed_when_the_node_of_the_cookie_is_gone_or_ours_drains() -> None:
    world = World()
    cookie = world.store(n=1)
    elsewhere = cookie.replace(".a", ".b")
    assert not world.owes_nothing(world.open([elsewhere]))
    world.cluster.serving = frozenset({"b"})
    assert not world.owes_nothing(world.open([cookie]))


def test_a_cookie_with_a_lifetime_may_have_to_be_renewed() -> None:
    world = World(cookie_max_age_s=1000)
    assert not world.owes_nothing(world.open([world.store(n=1)]))


def test_an_end_that_could_not_be_stored_is_still_owed() -> None:
    world = World()
    other = world.store(n=1)
    session = world.open([world.store(n=2)])
    world.replica.full = True
    session.invalidate()
    world.commit(session)
    assert not world.owes_nothing(world.open([other]))
