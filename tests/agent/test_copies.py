"""Copies are described to people without anything that the application stored."""

from clustersession.agent.copies import HELD, NOT_HELD, SILENT, copies_of, describe_copy
from clustersession.core.clock import COUNTER_BITS
from clustersession.core.state import PRINCIPAL, Ended, Register, SessionState
from clustersession.node.effects import Located
from tests.node.world import formed

WALL_MS = 1_800_000_000_000
PEER = b"p" * 8


def copy_with(**registers: bytes | None) -> SessionState:
    stamped = {name: Register(1, PEER, 1, value) for name, value in registers.items()}
    return SessionState(WALL_MS, WALL_MS, WALL_MS + 60_000, stamped, {PEER: 3})


def test_values_and_names_stay_out_and_what_is_deleted_does_not_count() -> None:
    copy = copy_with(cart=b"tea", card=b"4711", gone=None, **{PRINCIPAL: b"ann"})
    described = describe_copy(PEER, copy)
    assert (described["copy"], described["attributes"], described["has_principal"]) == (
        HELD, 2, True
    )
    assert described["versions"] == {"70707070": 3}
    assert not [word for word in ("tea", "4711", "card", "ann") if word in str(described)]


def test_an_end_is_told_with_when_where_and_why() -> None:
    ended = Ended((WALL_MS + 5) << COUNTER_BITS, PEER, "invalidated")
    tombstone = SessionState(WALL_MS, WALL_MS, WALL_MS + 60_000, {}, {PEER: 3}, ended)
    described = describe_copy(PEER, tombstone)
    assert described["ended"] == {"at_ms": WALL_MS + 5, "node": "70707070", "reason": "invalidated"}


def test_who_has_nothing_is_told_from_who_says_nothing() -> None:
    world = formed("abc")
    engine = world.nodes["a"].running
    b, c = (world.nodes[name].replica.node for name in "bc")
    rows = copies_of(engine, Located(1, {b: None}, (c,)))
    assert [(row["route"], row["copy"]) for row in rows] == [("b", NOT_HELD), ("c", SILENT)]
    (stranger,) = copies_of(engine, Located(1, {}, (b"whoisit?",)))
    assert stranger["route"] == ""
