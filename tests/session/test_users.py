"""Users' sessions: listed, ended, limited, remembered."""

from datetime import timedelta
from enum import Enum

import pytest

from clustersession.core.errors import ReplicaFull, ReplicationFailed, TooManySessions
from clustersession.core.state import PRINCIPAL, Change, Creation
from clustersession.replica.replica import ENDS_AT_ONCE
from clustersession.session.users import SessionView, handle_of
from clustersession.session.visit import visit_of
from tests.session.fakes import Users, cookie_of


def test_a_users_sessions_are_listed_without_their_ids() -> None:
    world = Users()
    first, second = world.login(), world.login()
    world.login("bob")
    views = world.manager.sessions().sessions_of("ann", current=world.open(first))
    assert [view.current for view in views] == [False, True], "the last used first"
    assert [view.handle for view in views] == [handle_of(second[:23]), handle_of(first[:23])]
    assert views[0].created - views[1].created == timedelta(seconds=1)
    assert (views[0].route, views[0].principal) == ("a", "ann")
    for cookie in (first, second):
        assert cookie[:8] not in repr(views)
    world.now_ms += 3_600_000
    assert world.manager.sessions().sessions_of("ann") == [], "they are expired"


def test_one_session_is_ended_by_view_or_handle() -> None:
    world = Users()
    first, second, third = world.login(), world.login(), world.login()
    sessions = world.manager.sessions()
    assert sessions.end(sessions.sessions_of("ann")[-1])
    assert not world.is_alive(first)
    assert sessions.end(handle_of(second[:23])[:8], "ann")
    assert not world.is_alive(second)
    assert not sessions.end(handle_of(third[:23]), "bob"), "another user's"
    assert not sessions.end(handle_of(second[:23]), "ann"), "it has ended already"
    assert world.is_alive(third)
    with pytest.raises(ValueError, match="needs the principal"):
        sessions.end("deadbeef")
    with pytest.raises(ValueError, match="too short"):
        sessions.end("", "ann")


def test_all_are_ended_but_the_current_one_which_may_then_change_its_id() -> None:
    world = Users()
    mine, others = world.login(), [world.login(), world.login()]
    bob = world.login("bob")
    session = world.open(mine)
    assert session.cluster.end_all("ann", except_current=session) == 2
    assert world.cluster.confirmed, "peers are waited for"
    assert [world.is_alive(cookie) for cookie in others] == [False, False]
    assert world.is_alive(bob)
    session = world.open(mine)
    session.rotate()
    moved = world.answer(session)
    assert world.is_alive(moved)
    assert world.manager.sessions().end_all("ann") == 1
    assert not world.is_alive(moved)
    assert world.is_alive(world.login()), "a later login is a new one"


def test_a_session_that_changed_its_id_elsewhere_is_still_the_login_it_was() -> None:
    world = Users()
    cookie = world.login()
    before = world.memory.get(cookie[:23])
    session = world.open(cookie)
    session.rotate()
    moved = world.answer(session)
    after = world.memory.get(moved[:23])
    assert after.registers["\x00login"].value == b"%d" % before.registers["\x00principal"].time
    session = world.open(moved)
    session.principal = "ann"
    assert not visit_of(session).touched, "the same user again is no new login"


@pytest.mark.asyncio
async def test_the_same_without_blocking() -> None:
    world = Users()
    first, second = world.login(), world.login()
    sessions = world.manager.sessions()
    view: SessionView = sessions.sessions_of("ann")[0]
    assert await sessions.aend(view)
    assert not await sessions.aend(view)
    assert not world.is_alive(second)
    assert await sessions.aend_all("ann") == 1
    assert not world.is_alive(first)


def test_nobody_is_told_that_it_worked_when_it_did_not() -> None:
    world = Users(ack_failure="error")
    world.login()
    world.cluster.confirms = False
    with pytest.raises(ReplicationFailed):
        world.manager.sessions().end_all("ann")

    def full(*_: object) -> None:
        raise ReplicaFull("the test says so")

    world.memory.commit = full
    with pytest.raises(ReplicaFull):
        world.manager.sessions().end_all("ann")


def test_beyond_the_limit_the_oldest_login_ends() -> None:
    world = Users(sessions_per_principal_max=2)
    cookies = [world.login() for _ in range(3)]
    assert [world.is_alive(cookie) for cookie in cookies] == [False, True, True]
    state = world.memory.get(cookies[0][:23])
    assert state.ended.reason == "limit"
    session = world.open(cookies[1])
    session["n"] = 1
    world.commit(session)
    assert world.is_alive(cookies[2]), "only a login counts, not a write"
    assert world.is_alive(world.login("bob"))


def test_a_login_beyond_the_limit_is_refused_before_anything_is_stored() -> None:
    world = Users(sessions_per_principal_max=1, sessions_per_principal_policy="refuse")
    first = world.login()
    head = world.memory.head()
    with pytest.raises(TooManySessions, match="sessions_per_principal_max is 1"):
        world.login()
    anonymous = world.store(n=1)
    session = world.open(anonymous)
    session.principal = "ann"
    session.rotate()
    with pytest.raises(TooManySessions):
        world.commit(session)
    assert world.memory.head() == head + 1
    assert world.is_alive(first)
    world.manager.sessions().end_all("ann")
    assert world.is_alive(world.login())


def test_remember_me_has_a_life_and_a_cookie_of_its_own() -> None:
    world = Users()
    session = world.open([])
    session.principal = "ann"
    session.idle_timeout = 0
    session.lifetime = 30 * 86_400
    header = world.commit(session).set_cookie
    assert header is not None
    assert "Max-Age=2592000" in header
    cookie = cookie_of(header)
    world.now_ms += 29 * 86_400_000
    assert world.is_alive(cookie)
    assert world.open(cookie).lifetime == 30 * 86_400
    session = world.open(cookie)
    session.rotate()
    header = world.commit(session).set_cookie
    assert header is not None
    assert "Max-Age=86400;" in header, "a new id alone prolongs no life"
    world.now_ms += 2 * 86_400_000
    assert not world.is_alive(cookie_of(header))


def test_a_stored_session_gets_a_lifetime_only_with_a_new_id() -> None:
    world = Users()
    session = world.open(world.login())
    with pytest.raises(RuntimeError, match="rotate"):
        session.lifetime = 60
    session.rotate()
    session.lifetime = 60
    moved = world.answer(session)
    world.now_ms += 61_000
    assert not world.is_alive(moved)
    for seconds in (0, -1, 91 * 86_400):
        with pytest.raises(ValueError, match="lifetime_s_max"):
            world.open([]).lifetime = seconds


def test_a_lifetime_alone_stores_nothing() -> None:
    world = Users()
    session = world.open([])
    session.lifetime = 60
    assert world.commit(session).set_cookie is None
    assert world.memory.head() == 0


@pytest.mark.parametrize("blocking", [True, False])
async def test_very_many_are_ended_in_parts_and_all_are_counted(blocking: bool) -> None:
    world = Users()
    told: list[str | None] = []
    world.manager.events.on("ended", lambda event: told.append(event.principal))
    creation = Creation(world.now_ms, world.now_ms + 3_600_000, 3_600_000)
    count = 2 * ENDS_AT_ONCE + 1
    world.memory.commit([
        Change(f"1key{number:019d}", world.now_ms, {PRINCIPAL: b"ann"}, creation=creation)
        for number in range(count)
    ], world.now_ms)
    current = world.open(world.login())
    sessions = world.manager.sessions()
    if blocking:
        ended = sessions.end_all("ann", except_current=current)
    else:
        ended = await sessions.aend_all("ann", except_current=current)
    assert (ended, len(told)) == (count, count)
    assert len(sessions.sessions_of("ann")) == 1
    assert world.memory.end_revoked() is None


def test_whoever_asks_which_session_is_the_current_one_has_read_it() -> None:
    world = Users()
    cookie, sessions = world.login(), world.manager.sessions()
    for ask in (
        lambda session: sessions.sessions_of("ann", current=session),
        lambda session: sessions.end_all("ann", except_current=session),
    ):
        session = world.open(cookie)
        assert not session.accessed
        ask(session)
        assert session.accessed


class Admin(str, Enum):  # noqa: UP042 - its own text is "Admin.ANN"
    ANN = "ann"


class Number(int, Enum):
    SEVEN = 7


def test_a_user_named_by_a_member_of_an_enum_is_the_member_s_value() -> None:
    world = Users()
    cookies = [world.login(Admin.ANN), world.login("7")]
    sessions = world.manager.sessions()
    assert [view.principal for view in sessions.sessions_of("ann")] == ["ann"]
    assert sessions.end_all(Admin.ANN) == 1
    assert sessions.end_all(Number.SEVEN) == 1
    assert not any(map(world.is_alive, cookies))


async def test_the_whole_cluster_is_asked_for_a_users_sessions() -> None:
    world = Users(sessions_per_principal_max=2)
    asked = world.manager.cluster.gathered  # type: ignore[attr-defined]
    world.login()
    assert asked == ["ann"], "whose sessions are counted"
    sessions = world.manager.sessions()
    [view] = await sessions.asessions_of("ann")
    assert [view] == sessions.sessions_of("ann")
    assert await sessions.aend(view)
    assert not sessions.end(view.handle, "ann")
    sessions.end_all("ann")
    await sessions.aend_all("ann")
    assert asked == ["ann"] * 7


def test_without_a_limit_a_login_asks_nobody() -> None:
    world = Users()
    world.login()
    assert world.manager.cluster.gathered == []  # type: ignore[attr-defined]
