"""A revocation ends every session of its user that began before it, and nothing else."""

import pytest

from clustersession.core.revocation import (
    judged,
    principal_tag,
    revocation_in,
    revocation_key,
    revoke,
    tag_of_revocation,
)
from clustersession.core.state import (
    LOGIN,
    PRINCIPAL,
    Register,
    SessionState,
    apply_change,
    expires_ms,
    login_time,
    merge,
)

A, B = b"node-aaa", b"node-bbb"
WALL_MS = 1_800_000_000_000
KEPT_MS = 90 * 86_400_000


def session(time: int, principal: bytes | None = b"ann", **more: Register) -> SessionState:
    return SessionState(1, 1, 10**13, {PRINCIPAL: Register(time, A, 1, principal), **more}, {A: 1})


def revocation(time: int, spared: str = "", node: bytes = B) -> SessionState:
    state = apply_change(
        None, revoke("ann", spared, WALL_MS, KEPT_MS), time=time, node=node, seq=1
    )
    assert state is not None
    return state


def test_the_key_names_the_user_without_showing_it() -> None:
    tag = principal_tag("ann")
    key = revocation_key(tag)
    assert "ann" not in key
    assert tag_of_revocation(key) == tag
    assert principal_tag(b"ann") == tag != principal_tag("bob")


@pytest.mark.parametrize("key", ["1abc", ".revoked.", ".revoked.zz", ".other." + "0" * 32,
                                 ".revoked." + "x" * 32,
                                 ".revoked." + "A" * 32, ".revoked." + "a " * 16])
def test_other_keys_name_nobody(key: str) -> None:
    assert tag_of_revocation(key) is None


def test_what_began_before_ends_and_what_began_after_does_not() -> None:
    register = revocation_in(revocation(10))
    ended = judged("k", session(9), register)
    assert ended.ended is not None
    assert (ended.ended.time, ended.ended.node, ended.ended.reason) == (10, B, "revoked")
    assert not ended.registers
    assert judged("k", session(11), register) == session(11)
    assert judged("k", session(9), None) == session(9)
    assert judged("k", session(10), register).ended is not None, "at once, on another node"


def test_the_spared_one_is_spared_until_the_next_revocation() -> None:
    first, second = revocation(10, "mine"), revocation(20, "other", A)
    assert judged("mine", session(9), revocation_in(first)).ended is None
    both = revocation_in(merge(first, second))
    assert judged("mine", session(9), both).ended is not None
    assert merge(first, second) == merge(second, first)


def test_a_session_that_changed_its_id_is_judged_by_its_login() -> None:
    moved = session(30, **{LOGIN: Register(30, A, 2, b"9")})
    assert login_time(moved) == 9
    assert judged("k", moved, revocation_in(revocation(10))).ended is not None
    # Nobody becomes older than its principal by a forged or damaged register.
    assert login_time(session(30, **{LOGIN: Register(30, A, 2, b"99")})) == 30
    assert login_time(session(30, **{LOGIN: Register(30, A, 2, b"x")})) == 30
    assert login_time(session(30, None)) == 0


def test_the_record_outlives_every_session_it_speaks_of_and_each_use_prolongs_it() -> None:
    record = revocation(10)
    assert expires_ms(record) >= WALL_MS + KEPT_MS
    later = revoke("ann", "", WALL_MS + KEPT_MS // 2, KEPT_MS)
    again = apply_change(record, later, time=11, node=A, seq=1)
    assert again is not None
    assert expires_ms(again) >= WALL_MS + KEPT_MS // 2 + KEPT_MS
