"""What an application notes of a device: cleaned, merged, kept at a new id, gone at the end."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import SessionTooLarge
from clustersession.core.state import LABEL, Change, Creation, apply_change, merge
from clustersession.session.label import LABEL_LENGTH_MAX, clean_label, label_of, read_label
from clustersession.session.visit import visit_of
from tests.session.fakes import Users, World

HOSTILE = "Fire\x1b]0;owned\x07fox\r\n\u202eon\u2066  Linux\ud800 "


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Firefox on Linux", "Firefox on Linux"),
        (HOSTILE, "Fire ]0;owned fox on Linux"),
        ("Büro, 東京 <b>", "Büro, 東京 <b>"),
        ("", None), (" \t\n\u200b", None),
        ("x" * 5_000, "x" * LABEL_LENGTH_MAX),
        ("x" * (LABEL_LENGTH_MAX - 1) + " y", "x" * (LABEL_LENGTH_MAX - 1)),
    ],
)  # fmt: skip
def test_a_label_is_one_short_line(text: str, label: str | None) -> None:
    assert clean_label(text) == label


@given(st.text(max_size=300), st.binary(max_size=300))
def test_whatever_is_noted_or_stored_can_be_shown(text: str, stored: bytes) -> None:
    for label in (clean_label(text), read_label(stored)):
        if label is not None:
            assert label.isprintable()
            assert 0 < len(label.strip()) == len(label) <= LABEL_LENGTH_MAX
            assert clean_label(label) == label
            assert read_label(label.encode()) == label


def test_a_label_alone_begins_a_session_and_may_be_taken_back() -> None:
    world = Users()
    session = world.open([])
    session.label = None
    assert world.commit(session).set_cookie is None, "nothing was noted"
    session = world.open([])
    session.label = HOSTILE
    assert session.label == "Fire ]0;owned fox on Linux"
    cookie = world.answer(session)
    session = world.open(cookie)
    assert (session.label, session.principal, dict(session)) == (
        "Fire ]0;owned fox on Linux", None, {},
    )
    session.label = ""
    world.commit(session)
    assert world.open(cookie).label is None
    with pytest.raises(TypeError, match="str or None, not int"):
        session.label = 7  # type: ignore[assignment]


def test_the_same_again_writes_nothing() -> None:
    world = World()
    session = world.open([])
    session.label = "Firefox"
    cookie = (world.commit(session).set_cookie or "").partition(";")[0].partition("=")[2]
    commits = len(world.replica.commits)
    session = world.open([cookie])
    session.label = " Firefox\n"
    assert not visit_of(session).touched
    world.commit(session)
    assert len(world.replica.commits) == commits


def test_it_goes_along_to_a_new_id_with_what_nobody_knows_yet_and_not_to_the_next_login() -> None:
    world = Users()
    cookie = world.login()
    session = world.open(cookie)
    session.label = "Firefox on Linux"
    # What a newer version keeps in a register is no attribute, and none of our business.
    visit_of(session).set_register("\x00of a later version", b"kept")
    world.commit(session)
    session = world.open(cookie)
    session.rotate()
    moved = world.answer(session)
    session = world.open(moved)
    assert session.label == "Firefox on Linux"
    assert visit_of(session).register("\x00of a later version") == b"kept"
    (view,) = world.manager.sessions().sessions_of("ann", current=session)
    assert (view.label, view.current) == ("Firefox on Linux", True)
    session = world.open(moved)
    session.invalidate()
    session["visits"] = 1
    after = world.open(world.answer(session))
    assert after.label is None
    ended = world.memory.get(moved[:23])
    assert ended.ended is not None
    assert label_of(ended) is None


def test_a_label_and_a_new_id_at_once_meet() -> None:
    world = Users()
    cookie = world.login()
    one, other = world.open(cookie), world.open(cookie)
    other.label = "Firefox"
    world.commit(other)
    one.rotate()
    assert world.open(world.answer(one)).label == "Firefox"


def test_it_counts_as_bytes_of_the_session() -> None:
    world = World(session_bytes_max=4096, attribute_bytes_max=4096)
    session = world.open([])
    session["cart"] = "x" * 4_000
    session.label = "東" * LABEL_LENGTH_MAX
    with pytest.raises(SessionTooLarge):
        world.commit(session)


def test_what_a_forger_stored_is_cleaned_when_it_is_read() -> None:
    world = Users()
    session = world.open(world.login())
    visit_of(session).set_register(LABEL, b"\x1b[2J\xff" + b"\xe2\x80\xae" * 9 + b"x" * 100_000)
    world.commit(session)
    (view,) = world.manager.sessions().sessions_of("ann")
    assert view.label is not None
    assert view.label.isprintable()
    assert len(view.label) == LABEL_LENGTH_MAX
    assert session.label == view.label


def test_a_worker_that_does_not_block_notes_it_too() -> None:
    async def run(world: Users) -> Any:
        session = world.open([])
        session.label = "Firefox"
        await session.asave()
        await session.areload()
        return session.label

    assert asyncio.run(run(Users())) == "Firefox"


WRITES = st.lists(
    st.tuples(st.sampled_from([b"node-aaa", b"node-bbb"]), st.sampled_from(["a", "b", None])),
    min_size=1, max_size=8,
)  # fmt: skip


@given(WRITES, st.booleans())
def test_of_two_nodes_labels_the_later_one_wins_in_any_order(
    writes: list[tuple[bytes, str | None]], meet: bool
) -> None:
    begun = apply_change(
        None, Change("k", 1, creation=Creation(1, 10**6, 0)), time=1, node=b"node-aaa", seq=1
    )
    assert begun is not None
    copies = dict.fromkeys((b"node-aaa", b"node-bbb"), begun)
    for at, (node, label) in enumerate(writes, 2):
        # A deletion of what is not there is none: both begin with a label.
        sets = {LABEL: (label or "").encode()}
        written = apply_change(copies[node], Change("k", 1, sets), time=at, node=node, seq=at)
        assert written is not None
        copies[node] = written
        if meet:
            copies = dict.fromkeys(copies, merge(*copies.values()))
    one, other = copies.values()
    last = writes[-1][1] or None
    assert label_of(merge(one, other)) == label_of(merge(other, one)) == last
    assert replace(merge(one, other)) == merge(merge(one, other), other)
