"""The old store's cookie: exchanged once, for one session, and never again."""

from typing import Any

import pytest
from itsdangerous import Signer

from clustersession.core.errors import ConfigurationError
from clustersession.core.state import ENDED_REVOKED, Change, Creation
from clustersession.session.legacy import record_key, record_key_of_file
from clustersession.session.lifetimes import ROTATION_GRACE_MS
from clustersession.session.outcome import VARY, Outcome
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.settings.settings import Settings
from clustersession.wire.values import encode_value
from tests.session.fakes import World, cookie_of

OLD = "an-old-id-of-the-other-store-0001"
LONG_MS = 90 * 86_400_000


def world(**options: Any) -> World:
    return World(legacy_cookie_name="old", **options)


def imported(world: World, old_id: str = OLD, left_ms: int = 3_600_000, **values: Any) -> str:
    key, now_ms = record_key(old_id), world.now_ms
    sets = {name: encode_value(value) for name, value in values.items()}
    creation = Creation(now_ms, now_ms + LONG_MS, left_ms)
    world.replica.commit([Change(key, now_ms, sets, creation=creation)], now_ms)
    return key


def opened(world: World, old: str = OLD, ours: str = "") -> Session:
    session = world.open([ours] if ours else [])
    assert world.manager.legacy is not None
    world.manager.legacy.adopt(visit_of(session), [old])
    return session


def exchanged(world: World, old: str = OLD) -> tuple[Session, Outcome]:
    session = opened(world, old)
    return session, world.commit(session)


def test_the_old_cookie_is_exchanged_for_one_of_ours() -> None:
    w = world()
    key = imported(w, user="ada", cart=["tea"])
    session, outcome = exchanged(w)
    assert dict(session) == {"user": "ada", "cart": ["tea"]}
    assert outcome.delete_legacy_cookie is not None
    assert outcome.delete_legacy_cookie.startswith("old=; Max-Age=0;")
    assert outcome.set_cookie is not None
    assert w.replica.states[key].ended is not None
    again = w.open([cookie_of(outcome.set_cookie)])
    assert dict(again) == {"user": "ada", "cart": ["tea"]}


def test_without_the_setting_nothing_looks_at_old_cookies() -> None:
    assert World().manager.legacy is None


def test_an_unknown_old_id_is_never_adopted() -> None:
    w = world()
    session, outcome = exchanged(w)
    assert (session.sid, dict(session)) == (None, {})
    assert outcome == Outcome()
    assert w.replica.commits == []
    assert w.cluster.fetched == []


def test_tabs_with_the_old_cookie_come_to_one_session() -> None:
    w = world()
    imported(w, user="ada")
    one, two = opened(w), opened(w)
    one["a"], two["b"] = 1, 2
    first, second = w.commit(one), w.commit(two)
    three, third = exchanged(w)
    assert first.set_cookie == second.set_cookie == third.set_cookie
    assert dict(three) == {"user": "ada", "a": 1, "b": 2}


def test_two_nodes_that_do_not_hear_of_each_other_make_the_same_session() -> None:
    a, b = world(), world()
    imported(a, user="ada")
    imported(b, user="ada")
    assert exchanged(a)[0].sid == exchanged(b)[0].sid


def test_a_replay_is_refused_once_the_grace_is_over() -> None:
    w = world()
    imported(w, user="ada")
    exchanged(w)
    w.now_ms += ROTATION_GRACE_MS + 1
    session, outcome = exchanged(w)
    assert (dict(session), outcome.set_cookie) == ({}, None)


def test_after_a_logout_the_old_cookie_is_dead_at_once() -> None:
    w = world()
    imported(w, user="ada")
    session, _ = exchanged(w)
    session.invalidate()
    w.commit(session)
    assert dict(exchanged(w)[0]) == {}


def test_a_node_that_missed_the_logout_brings_nothing_back() -> None:
    w = world()
    key = imported(w, user="ada")
    record = w.replica.states[key]
    session, _ = exchanged(w)
    session.invalidate()
    w.commit(session)
    w.replica.states[key] = record  # as on a node that was cut off
    session, outcome = exchanged(w)
    assert (visit_of(session).discarded, outcome.set_cookie) == (True, None)


def test_a_logout_with_the_old_cookie_ends_what_another_tab_made_of_it() -> None:
    w = world()
    imported(w, user="ada")
    leaving = opened(w)
    _, outcome = exchanged(w)
    assert outcome.set_cookie is not None
    leaving.invalidate()
    assert w.commit(leaving).delete_legacy_cookie is not None
    assert dict(w.open([cookie_of(outcome.set_cookie)])) == {}


def test_a_logout_first_wins_over_a_tab_that_was_opened_before() -> None:
    w = world()
    imported(w, user="ada")
    leaving, slow = opened(w), opened(w)
    leaving.invalidate()
    w.commit(leaving)
    slow["late"] = 1
    assert w.commit(slow).set_cookie is None
    assert visit_of(slow).discarded


def test_a_login_at_the_exchange_leaves_nothing_to_who_planted_the_cookie() -> None:
    w = world()
    imported(w, cart=["tea"])
    session = opened(w)
    session["user"] = "ada"
    session.rotate()
    assert w.commit(session).set_cookie is not None
    attacker, outcome = exchanged(w)
    assert (dict(attacker), outcome.set_cookie) == ({}, None)


def test_a_login_in_the_second_tab_is_not_lost() -> None:
    w = world()
    imported(w, cart=["tea"])
    session = opened(w)
    first, _ = exchanged(w)
    session["user"] = "ada"
    session.rotate()
    outcome = w.commit(session)
    assert outcome.set_cookie is not None
    assert session.sid != first.sid
    assert dict(w.open([cookie_of(outcome.set_cookie)])) == {"cart": ["tea"], "user": "ada"}
    assert dict(exchanged(w)[0]) == {}


def test_a_session_of_ours_goes_before_the_old_cookie_and_its_logout_ends_both() -> None:
    w = world()
    ours = w.store(user="grace")
    imported(w, user="ada")
    session = opened(w, ours=ours)
    assert dict(session) == {"user": "grace"}
    session.invalidate()
    assert w.commit(session).delete_legacy_cookie is not None
    assert dict(exchanged(w)[0]) == {}


def test_a_request_that_fails_before_its_commit_leaves_the_old_cookie_good() -> None:
    w = world()
    imported(w, user="ada")
    opened(w)["half"] = 1
    assert dict(exchanged(w)[0]) == {"user": "ada"}
    w = world()
    imported(w, user="ada")
    w.replica.full = True
    assert exchanged(w)[1].set_cookie is None
    w.replica.full = False
    assert dict(exchanged(w)[0]) == {"user": "ada"}


def test_an_expired_or_withdrawn_record_is_not_adopted() -> None:
    w = world()
    imported(w, user="ada", left_ms=60_000)
    w.now_ms += 70_000
    assert dict(exchanged(w)[0]) == {}
    w = world()
    key = imported(w, user="ada")
    w.replica.commit([Change(key, w.now_ms, end=ENDED_REVOKED)], w.now_ms)
    assert dict(exchanged(w)[0]) == {}


def test_what_was_left_of_the_old_life_is_kept() -> None:
    w = world(idle_timeout_s=60)
    imported(w, user="ada", left_ms=10 * 86_400_000)
    session, _ = exchanged(w)
    assert session.idle_timeout > 9 * 86_400
    w = world(idle_timeout_s=3600)
    imported(w, user="ada", left_ms=60_000)
    session, _ = exchanged(w)
    assert session.idle_timeout == 3600


@pytest.mark.parametrize("secrets", [("the key of flask",), ("a newer key", "the key of flask")])
def test_a_signed_old_cookie_is_verified(secrets: tuple[str, ...]) -> None:
    w = world(legacy_cookie_secret=secrets)
    imported(w, user="ada")
    signed = Signer("the key of flask", salt="flask-session", key_derivation="hmac").sign(OLD)
    for forged in (OLD, f"{OLD}.x", signed.decode()[:-1] + "!", "x" + signed.decode()):
        assert dict(exchanged(w, forged)[0]) == {}
    assert dict(exchanged(w, signed.decode())[0]) == {"user": "ada"}


STRANGE = ("", "short", "x" * 5000, "\udcff" * 20, "é" * 20, '"', "a.b.c" * 9)


@pytest.mark.parametrize("value", STRANGE)
def test_strange_old_cookies_are_nothing(value: str) -> None:
    w = world(legacy_cookie_secret=("the key of flask",))
    assert dict(exchanged(w, value)[0]) == {}
    assert dict(exchanged(world(), value)[0]) == {}


def test_with_our_own_cookies_name_ours_takes_its_place() -> None:
    w = World(legacy_cookie_name="CLUSTERSESSION")
    imported(w, user="ada")
    session = w.open([OLD])
    assert w.manager.legacy is not None
    w.manager.legacy.adopt(visit_of(session), [OLD])
    outcome = w.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.delete_legacy_cookie is None


def test_settings_that_cannot_work_are_refused_and_keys_stay_hidden() -> None:
    with pytest.raises(ConfigurationError, match="legacy_cookie_name"):
        Settings(legacy_cookie_name="a;b")


def log_in(world: World, session: Session) -> str:
    session["user"] = "ada"
    session.rotate()
    header = world.commit(session).set_cookie
    assert header is not None
    return cookie_of(header)


def silent(world: World, session: Session) -> bool:
    """Whether a request that writes, or logs out, stores nothing and says nothing."""
    commits = len(world.replica.commits)
    session["late"] = 1
    session.invalidate()
    session["later"] = 1
    return world.commit(session) == VARY and len(world.replica.commits) == commits


@pytest.mark.parametrize("same_name", [False, True])
def test_a_login_is_not_lost_to_the_old_cookie(same_name: bool) -> None:
    for exchanged_before in (False, True):
        w = World(legacy_cookie_name="CLUSTERSESSION" if same_name else "old")
        imported(w, cart=["tea"])
        first = opened(w)
        if exchanged_before:
            w.commit(first)
            w.now_ms += ROTATION_GRACE_MS + 1
            first = w.open([f"{first.sid}.a"])
        cookie = log_in(w, first)
        assert silent(w, opened(w))
        # A login with it begins a session; what belongs to the one that moved stays there.
        again = opened(w)
        assert w.open([log_in(w, again)]) == {"user": "ada"}
        assert w.open([cookie])["user"] == "ada"
        w.now_ms += ROTATION_GRACE_MS + 1
        assert not silent(w, opened(w))


def test_the_old_cookie_is_left_alone_beside_an_outdated_id() -> None:
    w = world()
    imported(w, cart=["tea"])
    session, _ = exchanged(w)
    ours = f"{session.sid}.a"
    log_in(w, w.open([ours]))
    assert silent(w, opened(w, ours=ours))


def test_after_a_logout_the_old_cookie_begins_a_session() -> None:
    w = world()
    imported(w, cart=["tea"])
    session, _ = exchanged(w)
    session.invalidate()
    w.commit(session)
    session = opened(w)
    session["a"] = 1
    assert w.commit(session).set_cookie is not None


@pytest.mark.parametrize("ended_elsewhere", [False, True])
def test_before_the_peers_were_met_a_record_is_asked_for_too(ended_elsewhere: bool) -> None:
    here = world()
    key = imported(here, user="ann")
    if ended_elsewhere:
        state = here.replica.states[key]
        here.replica.commit([Change(key, here.now_ms, end=ENDED_REVOKED)], here.now_ms)
        here.cluster.elsewhere[key] = here.replica.states[key]
        here.replica.states[key] = state
    here.cluster.contact.apart = True
    session = opened(here)
    assert visit_of(session).missing
    here.fetch(session)
    assert here.cluster.fetched == [key]
    assert session == ({} if ended_elsewhere else {"user": "ann"})
    session["n"] = 1
    assert here.commit(session).set_cookie is not None


STORE = {"store": "valkey://127.0.0.1", "distributable": True, "secret": ("s" * 32,)}
MD5_OF_OLD = "9873002e7dc1d35a7ccfe5d756c37815"


@pytest.mark.parametrize("key", [record_key(OLD), record_key_of_file(MD5_OF_OLD)])
def test_with_a_store_a_record_that_is_not_here_is_asked_for(key: str) -> None:
    here, elsewhere = world(**STORE), world()
    imported(elsewhere, user="ann")
    here.cluster.elsewhere[key] = elsewhere.replica.states[record_key(OLD)]
    session = opened(here)
    assert visit_of(session).missing
    here.fetch(session)
    assert here.cluster.fetched[-1] == key
    assert session == {"user": "ann"}
    outcome = here.commit(session)
    assert outcome.set_cookie is not None
    assert outcome.delete_legacy_cookie is not None
    assert here.replica.states[key].ended is not None


def test_with_a_store_an_old_id_that_nobody_knows_is_not_adopted() -> None:
    w = world(**STORE)
    session = opened(w)
    w.fetch(session)
    assert len(w.cluster.fetched) == 3
    assert (w.commit(session), session.sid, w.replica.commits) == (Outcome(), None, [])


def test_with_a_store_a_logout_takes_an_old_cookie_away_whose_record_is_not_here() -> None:
    w = world(**STORE)
    session = opened(w, ours=w.store(user="grace"))
    assert not visit_of(session).missing
    session.invalidate()
    assert w.commit(session).delete_legacy_cookie is not None
    assert w.cluster.fetched == []
