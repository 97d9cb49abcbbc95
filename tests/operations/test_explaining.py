"""Why an id was not found: each answer, from real nodes whose agents run in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.ids import log_name
from clustersession.core.state import ENDED_LIMIT, ENDED_ROTATED, Change, SessionState
from clustersession.operations import explaining
from clustersession.operations.explaining import Explanation, explain
from clustersession.operations.nodes import find_home
from clustersession.operations.observing import NodeAccess, SharedAccess, look
from clustersession.session.token import id_signer
from clustersession.session.users import handle_of
from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.worker.runtime import Runtime

SECRET = "s" * 32


def make(tmp_path: Path, route: str, port: int, **more: object) -> Runtime:
    return Runtime.from_options({
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "port": port, "seeds": (f"127.0.0.1:{port}",), "secret": SECRET,
        "state_dir": str(tmp_path), "route": route, "repair_interval_s": 600, **more,
    })


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Runtime, Runtime]]:
    port = free_port()
    made = make(tmp_path, "tomcat1", port), make(tmp_path, "tomcat2", port)
    for node in made:
        node.start()
    for node in made:
        wait_for(
            lambda n=node: n.manager().cluster.serving_routes() == {"tomcat1", "tomcat2"},
            "both nodes to serve",
        )
    yield made
    for node in made:
        node.close()


def new_cookie(runtime: Runtime, **values: object) -> str:
    manager = runtime.manager()
    visit = manager.open([])
    session = visit.session
    session.update(values)
    set_cookie = manager.commit(visit).set_cookie
    assert set_cookie is not None
    return set_cookie.partition("=")[2].partition(";")[0]


def routes(found: Explanation, copy: str) -> set[str]:
    return {row["route"] for row in found.copies if row["copy"] == copy}


def test_a_live_session_with_its_copies_by_every_name(nodes: tuple[Runtime, Runtime]) -> None:
    access = SharedAccess(nodes[0])
    cookie = new_cookie(nodes[0], user="ann")
    wait_for(lambda: nodes[1].manager().replica.get(cookie[:23]), "the copy")
    key = cookie[:23]
    for text in (cookie, f" {cookie} ", cookie.partition(".")[0], handle_of(key), log_name(key)):
        found = explain(access, text)
        assert (found.verdict, found.handle) == (explaining.LIVE, handle_of(key)), text
        assert routes(found, "held") == {"tomcat1", "tomcat2"}
        assert found.copies[0]["own"]
        assert found.reasons == ()
    assert key not in repr(found)


@pytest.mark.parametrize(("reason", "words"), [
    (ENDED_ROTATED, "under another id"), (ENDED_LIMIT, "sessions_per_principal_max"),
    ("invalidated", "logout"), ("revoked", "operator"), ("of a later version", "unknown"),
])
def test_an_ended_session_by_whom_and_why(
    nodes: tuple[Runtime, Runtime], reason: str, words: str
) -> None:
    cookie = new_cookie(nodes[0], user="ann")
    replica = nodes[1].manager().replica
    wait_for(lambda: replica.get(cookie[:23]), "the copy")
    now_ms = look(SharedAccess(nodes[1])).at_ms
    committed = replica.commit([Change(cookie[:23], now_ms, end=reason)], now_ms)
    nodes[1].manager().cluster.feed_moved(committed.head)
    own = nodes[0].manager().replica

    def ended() -> SessionState | None:
        state = own.get(cookie[:23])
        return state if state is not None and state.ended is not None else None

    wait_for(ended, "the end to arrive")
    found = explain(SharedAccess(nodes[0]), cookie)
    assert found.verdict == explaining.ENDED
    assert "by node tomcat2" in found.headline
    assert words in found.reasons[0]


def test_what_only_a_peer_holds_is_told_and_not_fetched(nodes: tuple[Runtime, Runtime]) -> None:
    cookie = new_cookie(nodes[1], user="ann")
    state = nodes[1].manager().replica.get(cookie[:23])
    assert state is not None
    signer = id_signer([SECRET], "clustersession")
    identifier = signer.mint(b"0123456789abcdef")
    # As if it had come there another way: no feed brings what a merge has stored.
    nodes[1].manager().replica.merge([(identifier[:23], state)], state.accessed_ms)
    found = explain(SharedAccess(nodes[0]), identifier)
    assert found.verdict == explaining.ELSEWHERE
    assert "tomcat2 has it" in found.headline
    assert routes(found, "not held") == {"tomcat1"}
    assert nodes[0].manager().replica.get(identifier[:23]) is None


def test_expired_gone_forged_and_meaningless(
    nodes: tuple[Runtime, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = SharedAccess(nodes[0])
    cookie = new_cookie(nodes[0], user="ann")
    gone = id_signer([SECRET], "clustersession").mint(b"0123456789abcdef")
    found = explain(access, gone)
    assert (found.verdict, found.copies[1]["copy"]) == (explaining.GONE, "not held")
    assert "authentic" in found.reasons[0]
    forged = id_signer(["x" * 32], "clustersession").mint(b"0123456789abcdef")
    assert explain(access, forged).verdict == explaining.FORGED
    changed = f"{cookie[:30]}{'A' if cookie[30] != 'A' else 'B'}{cookie[31:]}"
    found = explain(access, changed)
    assert (found.verdict, found.refused) == (explaining.LIVE, True)
    for text in ("", "deadbeef", "x" * 500, "<b>", "\x00", ".revoked." + "0" * 32):
        assert explain(access, text).verdict == explaining.UNKNOWN, text
    state = nodes[0].manager().replica.get(cookie[:23])
    assert state is not None
    later_ns = (state.accessed_ms + 2_000_000) * 1_000_000
    monkeypatch.setattr(explaining.time, "time_ns", lambda: later_ns)
    found = explain(access, cookie)
    assert found.verdict == explaining.EXPIRED
    assert "1800 s without a request" in found.reasons[0]
    monkeypatch.setattr(explaining.time, "time_ns", lambda: (state.deadline_ms + 1) * 1_000_000)
    assert explain(access, cookie).verdict == explaining.EXPIRED


def test_a_node_without_an_agent_or_secret_tells_what_it_can(tmp_path: Path) -> None:
    runtime = Runtime.from_options({"state_dir": str(tmp_path), "route": "tomcat1"})
    cookie = new_cookie(runtime, user="ann")
    runtime.close()
    access = NodeAccess(runtime.settings, find_home(runtime.settings))
    found = explain(access, cookie)
    assert found.verdict == explaining.LIVE
    assert any("No peer could be asked" in reason for reason in found.reasons)
    # Without the secret nobody can tell whether it is authentic.
    found = explain(access, "A" * 39)
    assert found.verdict == explaining.GONE
    assert "hold no secret" in found.reasons[0]
    seen = look(access)
    assert "no agent" in seen.trouble
    assert seen.last_written == {seen.status["node"]: 1}
