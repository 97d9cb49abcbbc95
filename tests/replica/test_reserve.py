"""A logout may use the whole reserve, an access half of it, and whatever stores more nothing."""

import pytest

from clustersession.core.revocation import revoke
from clustersession.core.state import Change, Delta, Ended, SessionState
from clustersession.replica.reserve import ends_among, share_left_by
from tests.replica.replica_checks import NODE_A, WALL_MS, creation, end, key_of, write

ACCESS = Change(key_of(1), WALL_MS)
REVOCATION = revoke("ann", "", WALL_MS, 60_000)


@pytest.mark.parametrize(("changes", "share"), [
    ([], 0.0), ([end(1)], 0.0), ([end(1), end(2)], 0.0), ([REVOCATION], 0.0),
    ([ACCESS], 0.5), ([end(1), ACCESS], 0.5),
    ([write(1, a=b"1")], 1.0), ([creation(1)], 1.0), ([end(1), creation(2)], 1.0),
    ([write(1, a=b"1"), REVOCATION], 0.0),
])
def test_what_a_commit_leaves_of_the_reserve(changes: list[Change], share: float) -> None:
    assert share_left_by(changes) == share


def test_of_a_batch_that_does_not_fit_the_ends_are_taken() -> None:
    alive = SessionState(1, 1, 1, {}, {NODE_A: 1})
    ended = SessionState(1, 1, 1, {}, {NODE_A: 2}, Ended(1, NODE_A, "invalidated"))
    deltas = [
        Delta(key_of(1), alive, True), Delta(key_of(2), ended, True),
        Delta(REVOCATION.key, alive, True),
    ]
    assert [delta.key for delta in ends_among(deltas)] == [key_of(2), REVOCATION.key]
