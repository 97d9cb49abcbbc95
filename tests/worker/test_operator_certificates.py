"""Whole nodes with certificates of the operator's own."""

from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent, find_home
from clustersession.settings.settings import Settings
from clustersession.tools.demo.processes import free_port, wait_for
from clustersession.wire.local import Operation
from clustersession.worker.runtime import Runtime
from tests.support.certificates import Authority


def make(tmp_path: Path, route: str, port: int, **options: object) -> Runtime:
    return Runtime.from_options({
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "port": port, "seeds": (f"127.0.0.1:{port}",), "secret": "s" * 32,
        "state_dir": str(tmp_path), "route": route, **options,
    })


def serving(runtime: Runtime) -> frozenset[str]:
    return runtime.manager().cluster.serving_routes()


def status_of(tmp_path: Path, route: str) -> dict:
    try:
        home = find_home(Settings(state_dir=str(tmp_path), route=route))
        return ask_agent(home, Operation.STATUS)
    except AgentGone:
        return {"counters": {}}


def test_nodes_of_one_authority_form_a_cluster_and_others_are_counted(tmp_path: Path) -> None:
    ours, port = Authority(tmp_path, "ours"), free_port()
    others = Authority(tmp_path, "others")
    first = make(tmp_path, "tomcat1", port, **ours.files("one"))
    second = make(tmp_path, "tomcat2", port, **ours.files("two"))
    stranger = make(tmp_path, "tomcat3", port, **others.files("three"))
    thief = make(tmp_path, "tomcat4", port, **ours.files("four"), secret="t" * 32)
    nodes = {"tomcat1": first, "tomcat2": second, "tomcat3": stranger, "tomcat4": thief}
    try:
        for route, node in nodes.items():
            node.start()
            wait_for(lambda r=route: "address" in status_of(tmp_path, r), "the agent to listen")
        for node in (first, second):
            wait_for(lambda n=node: serving(n) == {"tomcat1", "tomcat2"}, "the two to meet")
        wait_for(lambda: _refusals(tmp_path, "certificate"), "the stranger to be counted")
        wait_for(lambda: _refusals(tmp_path, "hello"), "the thief to be counted")
        assert serving(first) == serving(second) == {"tomcat1", "tomcat2"}
        assert (serving(stranger), serving(thief)) == ({"tomcat3"}, {"tomcat4"})
    finally:
        for node in nodes.values():
            node.close()


def _refusals(tmp_path: Path, word: str) -> int:
    """How many drops any node counted whose reason has this word."""
    found = (status_of(tmp_path, f"tomcat{number}")["counters"] for number in (1, 2, 3, 4))
    return sum(n for counters in found for name, n in counters.items() if word in name)


def test_a_missing_file_is_a_clear_error_at_the_start(tmp_path: Path) -> None:
    files = Authority(tmp_path).files("one")
    files["tls_key"] = str(tmp_path / "nowhere.key")
    with pytest.raises(ConfigurationError, match=r"tls_key is '.*nowhere\.key'; it cannot be read"):
        make(tmp_path, "tomcat1", free_port(), **files).start()


def test_all_three_or_none(tmp_path: Path) -> None:
    files = Authority(tmp_path).files("one")
    del files["tls_ca"]
    with pytest.raises(ConfigurationError, match=r"tls_ca is ''.*all three or not at all"):
        make(tmp_path, "tomcat1", free_port(), **files)
    with pytest.raises(ConfigurationError, match=r"tls_key is 'node\.key'.*absolute path"):
        make(tmp_path, "tomcat1", free_port(), **{**files, "tls_ca": "/c", "tls_key": "node.key"})
