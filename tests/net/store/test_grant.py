"""What the agent grants is read as it was given, and anything else grants nothing."""

import pytest

from clustersession.net.store.grant import Grant
from clustersession.net.store.resp import command
from clustersession.settings.store_url import StoreAddress

GRANT = Grant(7, b"n" * 8, "10.0.0.1", 6379, "f" * 40, b"")


def test_a_grant_is_read_as_it_was_given() -> None:
    assert Grant.read([*GRANT]) == GRANT
    assert GRANT.address == StoreAddress(("10.0.0.1", 6379))


@pytest.mark.parametrize("answer", [
    None, True, [], [1], [*GRANT][:5], [*GRANT, 1], ["7", *GRANT[1:]], [*GRANT[:5], "digest"],
])  # fmt: skip
def test_nothing_else_is_one(answer: object) -> None:
    assert Grant.read(answer) is None


def test_a_server_without_functions_runs_scripts() -> None:
    assert GRANT.call("change", [b"k"], 1, b"x") == command("FCALL", "change", 1, b"k", 1, b"x")
    by_script = GRANT._replace(digest=b"d" * 40)
    assert by_script.call("change", [b"k"]) == command("EVALSHA", b"d" * 40, 1, b"k")
