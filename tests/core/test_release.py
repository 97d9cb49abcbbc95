"""Newer is newer in one direction only."""

from itertools import pairwise

import pytest

from clustersession.core.release import is_newer

ASCENDING = ["", "0.1.0.dev1", "0.1.0", "0.1.1", "0.2", "0.9.9", "0.10.0rc1", "0.10", "1.0", "10.0"]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ASCENDING)))
def test_the_later_release_is_newer_and_never_the_other_way(older: str, newer: str) -> None:
    assert is_newer(newer, older)
    assert not is_newer(older, newer)


@pytest.mark.parametrize(
    ("one", "same"),
    [("0.1.0", "0.1.0"), ("0.1", "0.1.0"), ("0.1.0", "0.1.0+local"), ("0.1.0", "0.1.0.post1"),
     ("0.1.0rc1", "0.1.0rc2"), ("?", "unknown"), ("", "?")],
)
def test_what_is_no_reason_to_replace(one: str, same: str) -> None:
    assert not is_newer(one, same)
    assert not is_newer(same, one)
