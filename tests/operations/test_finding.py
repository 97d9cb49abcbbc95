"""Sessions are found by every name that people have; with nobody to ask what else there is."""

from pathlib import Path

from clustersession.core.ids import log_name
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.operations.finding import bring, find_session, gather
from clustersession.replica.home import NodeHome
from clustersession.session.users import handle_of
from tests.operations.sessions import KEYS, filled


def test_a_session_is_found_by_each_of_its_names() -> None:
    replica = filled()
    key = KEYS[1]
    identifier = key + "s" * 16
    for name in (key, identifier, f"{identifier}.tomcat1", handle_of(key), log_name(key)):
        found = find_session(replica, name)
        assert found is not None, name
        assert found[0] == key
    for name in ("", "a", log_name(key)[:7], "0" * 32, RESERVED_PREFIX * 23):
        assert find_session(replica, name) is None, name


def test_without_an_agent_what_is_here_is_found(tmp_path: Path) -> None:
    home, replica = NodeHome(tmp_path), filled()
    assert gather(home, "ann") is None
    assert bring(home, replica, KEYS[1]) == find_session(replica, KEYS[1])
    assert bring(home, replica, "k" * 23) is None
