"""The command line on a node with an agent, on one without, and where there is none."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustersession import __version__
from clustersession.asgi import ClusterSessionMiddleware
from clustersession.cli import main
from clustersession.core.ids import log_name
from clustersession.replica.engines.lmdb.directory import is_trustworthy
from clustersession.session.manager import SessionManager
from clustersession.tools.demo.processes import wait_for


@pytest.fixture
def manager(tmp_path: Path) -> SessionManager:
    middleware = ClusterSessionMiddleware(
        None, distributable=True, agent="thread", bind="127.0.0.1", multicast_address="",
        state_dir=str(tmp_path), route="tomcat1", secret="s" * 32, cluster_name="shop",
    )
    manager = middleware.runtime.manager()
    yield manager
    middleware.runtime.close()


def make_session(manager: SessionManager) -> str:
    visit = manager.open([])
    session = visit.session
    session["user"] = "ann"
    session["cart"] = ["tea"]
    outcome = manager.commit(visit)
    assert outcome.set_cookie is not None
    return outcome.set_cookie.partition(";")[0].partition("=")[2]


def run(tmp_path: Path, *arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["--state-dir", str(tmp_path), *arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_every_view_of_a_running_node(manager: SessionManager, tmp_path: Path) -> None:
    make_session(manager)
    wait_for(lambda: "ready" in run(tmp_path, "status"), "the agent to be ready")
    status = json.loads(run(tmp_path, "status", "--json"))
    assert (status["route"], status["cluster_name"]) == ("tomcat1", "shop")
    assert status["sessions"] == 1
    assert status["disk_free_bytes"] > 0
    shown = run(tmp_path, "status")
    assert re.search(rf"^version +{re.escape(__version__)}$", shown, re.MULTILINE)
    assert re.search(r"^disk free bytes +\d+$", shown, re.MULTILINE)
    table = run(tmp_path, "members").splitlines()
    assert table[0].split()[:3] == ["ROUTE", "ADDRESS", "STATUS"]
    assert table[1].startswith("tomcat1")
    (own,) = json.loads(run(tmp_path, "members", "--json"))
    assert (own["route"], own["status"], own["phase"]) == ("tomcat1", "self", "ready")


def test_ready_tells_by_its_exit_code_whether_users_may_come(
    manager: SessionManager, tmp_path: Path
) -> None:
    ask = ["--state-dir", str(tmp_path), "ready"]
    # While its agent starts, it would open the replica, which this process has open already.
    wait_for(lambda: CliRunner().invoke(main, ask).exit_code == 0, "the node to be ready")
    assert run(tmp_path, "ready") == "ready\n"
    run(tmp_path, "drain")
    assert "Error: draining" in run(tmp_path, "ready", status=1)


def test_a_node_without_an_agent_is_not_ready(tmp_path: Path) -> None:
    assert "no node" in run(tmp_path, "ready", status=1)
    middleware = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="tomcat1")
    make_session(middleware.runtime.manager())
    middleware.runtime.close()
    assert "Error: no agent" in run(tmp_path, "ready", status=1)


def test_sessions_are_shown_without_their_ids_or_values(tmp_path: Path) -> None:
    middleware = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="tomcat1")
    cookie = make_session(middleware.runtime.manager())
    middleware.runtime.close()
    (row,) = json.loads(run(tmp_path, "sessions", "--json"))["rows"]
    assert row["attributes"] == 2
    listed = run(tmp_path, "sessions")
    assert "1 shown of 1 sessions that this node holds" in listed
    assert "no agent" in run(tmp_path, "status")
    for identifier in (cookie, cookie.partition(".")[0], row["session"]):
        detail = json.loads(run(tmp_path, "show", identifier, "--json"))
        assert [a["name"] for a in detail["attribute_list"]] == ["cart", "user"]
        shown = run(tmp_path, "show", identifier)
        assert "cart" in shown
        assert "tea" not in shown
        assert cookie[:23] not in shown + listed
    assert "holds no session" in run(tmp_path, "show", "deadbeef", status=1)


def test_a_look_at_a_stopped_node_leaves_its_sessions_to_the_next_boot(tmp_path: Path) -> None:
    middleware = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="tomcat1")
    make_session(middleware.runtime.manager())
    middleware.runtime.close()
    (replica,) = tmp_path.glob("*.tomcat1.*/replica")
    assert is_trustworthy(replica, "another boot")
    run(tmp_path, "status")
    run(tmp_path, "sessions")
    assert is_trustworthy(replica, "another boot")


def login(manager: SessionManager, user: str, label: str | None = None) -> str:
    visit = manager.open([])
    session = visit.session
    session.principal = user
    session.label = label
    outcome = manager.commit(visit)
    assert outcome.set_cookie is not None
    return outcome.set_cookie.partition(";")[0].partition("=")[2]


def test_sessions_of_a_user_are_listed_and_ended(tmp_path: Path) -> None:
    middleware = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="tomcat1")
    manager = middleware.runtime.manager()
    cookies = [login(manager, "ann") for _ in range(3)]
    login(manager, "bob", "Firefox on Linux")
    middleware.runtime.close()
    rows = json.loads(run(tmp_path, "sessions", "--principal", "ann", "--json"))["rows"]
    assert len(rows) == 3
    assert [row["label"] for row in rows] == [None] * 3
    bobs = run(tmp_path, "sessions", "--principal", "bob")
    assert "1 shown" in bobs
    assert "  Firefox on Linux\n" in bobs
    assert "Firefox on Linux" in run(tmp_path, "show", bobs.splitlines()[1].split()[0])
    for identifier in (cookies[0], rows[0]["session"]):
        run(tmp_path, "end", identifier)
    left = 3 - len({cookies[0][:23]} | {c[:23] for c in cookies if log_name(c[:23]) in
                                       {rows[0]["session"]}})
    ended = json.loads(run(tmp_path, "end", "--principal", "ann", "--json"))
    assert ended == {"sessions": left, "peers": None}
    assert "0 sessions ended" in run(tmp_path, "end", "--principal", "ann")
    assert "1 session ended; the agent did not" in run(tmp_path, "end", "--principal", "bob")
    assert ".revoked" not in run(tmp_path, "sessions", "--all")
    assert "ended (revoked)" in run(tmp_path, "sessions", "--all")
    assert "holds no session" in run(tmp_path, "end", "deadbeef", status=1)
    assert "either the ID" in run(tmp_path, "end", status=2)


def test_no_node_is_one_clear_line(tmp_path: Path) -> None:
    for command in ("status", "members", "sessions"):
        output = run(tmp_path, command, status=1)
        assert "no node" in output
        assert str(tmp_path) in output
    assert "did you mean" in CliRunner().invoke(
        main, ["status"], env={"CLUSTERSESSION_ROTUE": "x"}
    ).output


@pytest.mark.parametrize("identifier", ["-h_abcdefghijklmnopqrstu", "--json-of-an-id-that-is-long"])
def test_an_id_that_begins_with_a_dash_is_an_id(tmp_path: Path, identifier: str) -> None:
    middleware = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="tomcat1")
    make_session(middleware.runtime.manager())
    middleware.runtime.close()
    for command in (["show"], ["show", "--json"], ["end", "--json"]):
        output = run(tmp_path, *command, f"{identifier}.tomcat1", status=1)
        assert f"holds no session {identifier[:8]}" in output
    assert "0 sessions ended" in run(tmp_path, "end", "--principal", identifier)
    assert "No such option" in run(tmp_path, "show", "--jsno", "00000000", status=2)
