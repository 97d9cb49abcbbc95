"""The view that the agent leaves for the workers."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.serving_view import View

ROUTES = st.frozensets(st.from_regex(r"[A-Za-z0-9_]{1,32}", fullmatch=True), max_size=8)


@given(ROUTES, st.booleans())
def test_a_view_comes_back(serving: frozenset[str], draining: bool) -> None:
    assert View.decode(View(serving, draining).encode()) == View(serving, draining)


@given(st.none() | st.binary())
def test_anything_reads_as_some_view(data: bytes | None) -> None:
    View.decode(data)


def test_nothing_known_is_empty() -> None:
    assert View.decode(None) == View(frozenset(), False)
