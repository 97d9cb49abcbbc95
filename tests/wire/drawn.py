"""Parts of messages, drawn by Hypothesis."""

from hypothesis import strategies as st

from clustersession.core.state import Ended, Register, SessionState

numbers = st.integers(0, 2**63 - 1)

nodes = st.binary(min_size=8, max_size=8)

registers = st.builds(Register, numbers, nodes, numbers, st.none() | st.binary(max_size=20))

states = st.builds(
    SessionState, numbers, numbers, numbers,
    st.dictionaries(st.text(max_size=8), registers, max_size=4),
    st.dictionaries(nodes, numbers, max_size=4),
) | st.builds(
    SessionState, numbers, numbers, numbers, st.just({}),
    st.dictionaries(nodes, numbers, max_size=4),
    st.builds(Ended, numbers, nodes, st.text(max_size=20)),
)
