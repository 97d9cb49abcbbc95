"""The bound of a copy's size, by which parts decide what fits into a message."""

from hypothesis import given, settings

from clustersession.core.state import SessionState
from clustersession.node.context import copy_bytes_max
from clustersession.wire.records import encode_state
from tests.wire.drawn import states


@settings(max_examples=200, deadline=None)
@given(states)
def test_the_bound_of_a_copys_size_holds(state: SessionState) -> None:
    assert len(encode_state(state)) <= copy_bytes_max(state)
