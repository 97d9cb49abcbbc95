"""The note by which workers know whether their agent has met its peers."""

import pytest

from clustersession.core.contact import APART, CONTACT_NOTE, MET
from clustersession.core.errors import ReplicaFull
from clustersession.core.identity import Phase
from clustersession.node import news
from clustersession.node.life import Life
from clustersession.replica.opening import open_memory
from clustersession.replica.replica import Replica
from tests.node.lives import FakeLink, at, life_over, peer, taken


def noted(replica: Replica) -> bytes | None:
    return replica.load_note(CONTACT_NOTE)


def be_ready(life: Life[FakeLink]) -> None:
    life.engine.context.phase = Phase.READY
    life.engine.context.view_is_stale = True
    taken(life)


def known_before() -> Replica:
    """What a node leaves that has met somebody."""
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    life = life_over(replica)
    life.accepted(FakeLink(peer()), at())
    be_ready(life)
    assert noted(replica) == MET
    return replica


def test_the_first_node_of_all_has_nobody_to_meet() -> None:
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    life = life_over(replica)
    be_ready(life)
    assert noted(replica) is None


def test_a_node_that_met_somebody_is_apart_from_its_next_start_until_it_is_ready() -> None:
    replica = known_before()
    life = life_over(replica)
    assert noted(replica) == APART
    life.accepted(FakeLink(peer()), at())
    life.engine.context.view_is_stale = True
    taken(life)
    assert noted(replica) == APART, "it has not caught up yet"
    be_ready(life)
    assert noted(replica) == MET


def test_a_node_killed_before_it_was_ready_is_apart_too() -> None:
    """Its peers may end the sessions of its first seconds while it is away."""
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    life = life_over(replica)
    life.accepted(FakeLink(peer()), at())
    taken(life)
    assert life.engine.context.phase is Phase.JOINING
    assert noted(replica) == MET
    life_over(replica)
    assert noted(replica) == APART


def test_a_node_that_finds_nobody_again_has_met_whom_it_could() -> None:
    replica = known_before()
    be_ready(life_over(replica))
    assert noted(replica) == MET


def test_what_found_no_space_is_noted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = known_before()
    life = life_over(replica)

    def full(name: str, value: bytes) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patched:
        patched.setattr(replica, "save_note", full)
        be_ready(life)
    assert news.ViewNotWritten("no space") in life.engine.news()
    assert noted(replica) == APART
    be_ready(life)
    assert noted(replica) == MET
