"""``clustersession check``: its verdict on whatever can be wrong, with a real node to ask."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.cli import main
from clustersession.core.errors import ClusterSessionError
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.tools.check import host as check_host
from clustersession.tools.demo.processes import wait_for
from tests.support.namespaces import Host, network
from tests.support.processes import free_port, require_programs, require_root

SECRET = "s" * 32
OTHER_SECRET = "t" * 32
PATIENCE_S = 40
OF_ANOTHER_VERSION = """
from clustersession.node import life
from clustersession.wire import messages
for module in life, messages:
    module.PROTOCOL_VERSION = module.PROTOCOL_VERSION_MIN = 9
from clustersession.cli import main
main()
"""


class Found(NamedTuple):
    """What a check printed, by check, and how it ended."""

    verdicts: list[dict[str, str]]
    status: int

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(v["level"], v["text"]) for v in self.verdicts if v["check"] == check]

    def problems(self) -> set[str]:
        return {v["check"] for v in self.verdicts if v["level"] == "problem"}


def environment(host: Host, state: Path, settings: dict[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")}
    given = {"SECRET": SECRET, "BIND": host.address, "STATE_DIR": str(state), **settings}
    return inherited | {f"CLUSTERSESSION_{name}": value for name, value in given.items()}


def start(host: Host, state: Path, **settings: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "clustersession", "check", "--json"]
    return host.start(
        command, env=environment(host, state, settings), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )


def result(process: "subprocess.Popen[str]") -> Found:
    output, _ = process.communicate(timeout=PATIENCE_S)
    return Found(json.loads(output), process.returncode)


def check(host: Host, state: Path, **settings: str) -> Found:
    return result(start(host, state, **settings))


def start_agent(host: Host, state: Path, code: str = "", **settings: str) -> NodeHome:
    program = ["-c", code] if code else ["-m", "clustersession"]
    with (state / f"{settings['ROUTE']}.log").open("wb") as log:
        host.start(
            [sys.executable, *program, "agent"], env=environment(host, state, settings),
            stdout=log, stderr=log,
        )
    home = NodeHome(state / f"{settings.get('CLUSTER_NAME', 'clustersession')}.{settings['ROUTE']}")
    wait_for(lambda: phase(home) == "ready", "the agent to be ready")
    return home


def phase(home: NodeHome) -> str:
    try:
        return str(status(home)["phase"])
    except ClusterSessionError:
        return ""


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with network(2) as made:
        yield made


@pytest.fixture
def states(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for directory in made:
        directory.mkdir(mode=0o700)
    return made


@pytest.mark.system
@pytest.mark.timeout(120)
def test_beside_a_running_node(hosts: list[Host], states: list[Path]) -> None:
    home = start_agent(hosts[0], states[0], ROUTE="a")
    seed = {"SEEDS": f"{hosts[0].address}:4000", "MULTICAST_ADDRESS": "", "ROUTE": "b"}

    good = check(hosts[1], states[1], ROUTE="b", COOKIE_SECURE="true")
    assert good.status == 0
    assert {v["level"] for v in good.verdicts} == {"ok"}, good.verdicts
    assert "heard a" in good.of("multicast")[0][1]
    assert "a, same cluster and secret" in good.of("peer")[0][1]
    assert list(states[1].iterdir()) == []

    listen = f"s = socket.create_server(({hosts[1].address!r}, 4500))"
    code = f"import signal, socket; {listen}; print(1, flush=True); signal.pause()"
    listener = hosts[1].start([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert listener.stdout is not None
    assert listener.stdout.readline() == "1\n"
    # These do not use the group, so they cannot take each other for strangers.
    asked = {
        "seeds": start(hosts[1], states[1], **seed),
        "secret": start(hosts[1], states[1], **{**seed, "SECRET": OTHER_SECRET}),
        "cluster": start(hosts[1], states[1], **seed, CLUSTER_NAME="shop"),
        "route": start(hosts[1], states[1], **{**seed, "ROUTE": "a"}),
        "port": start(hosts[1], states[1], **seed, PORT="4500", PORT_RANGE="1"),
        "nobody": start(hosts[1], states[1], **{**seed, "SEEDS": f"{hosts[0].address}:4999"}),
        "bind": start(hosts[1], states[1], **seed | {"BIND": "10.77.9.9"}),
    }
    found = {name: result(process) for name, process in asked.items()}
    assert found["seeds"].status == 0
    assert found["secret"].problems() == {"peer"}
    assert "it holds another secret" in found["secret"].of("peer")[0][1]
    assert found["cluster"].problems() == {"peer"}
    assert "cluster 'clustersession', this one to 'shop'" in found["cluster"].of("peer")[0][1]
    assert found["route"].problems() == {"route"}
    assert f"{hosts[0].address}:4000" in found["route"].of("route")[0][1]
    assert found["port"].problems() == {"ports"}
    assert "larger port_range" in found["port"].of("ports")[0][1]
    assert found["nobody"].of("peer")[0][0] == "warning"
    assert found["bind"].problems() == {"ports"}
    assert {f.status for n, f in found.items() if n not in ("seeds", "nobody")} == {1}

    stranger = check(hosts[1], states[1], ROUTE="b", SECRET=OTHER_SECRET)
    assert ("problem", f"{hosts[0].address} sends with another secret; set the same "
            "CLUSTERSESSION_SECRET on every node") in stranger.of("multicast")

    own = check(hosts[0], states[0], ROUTE="a")
    assert own.status == 0
    assert "this node's agent" in own.of("ports")[0][1]

    # Nobody noticed but for the counters, and those refused are no members either.
    after = status(home)
    assert after["members"] == []
    assert after["counters"]["questions who we are"] == 3


@pytest.mark.system
@pytest.mark.timeout(120)
def test_multicast_that_does_not_pass_or_cannot_be_sent(
    hosts: list[Host], states: list[Path]
) -> None:
    start_agent(hosts[0], states[0], ROUTE="a")
    seeds = f"{hosts[0].address}:4000"
    hosts[1].block_multicast()
    with_seeds = start(hosts[1], states[1], ROUTE="b", SEEDS=seeds)
    lonely = check(hosts[1], states[1], ROUTE="b")
    blocked = result(with_seeds)
    assert blocked.status == 0
    (level, text), = blocked.of("multicast")
    assert level == "warning"
    assert "does not reach the nodes that answer" in text
    assert lonely.of("multicast")[0][0] == "warning"

    require_programs("nft")
    rules = "table ip t { chain o { type filter hook output priority 0; udp dport 45564 drop; }; }"
    subprocess.run(["ip", "netns", "exec", hosts[1].name, "nft", "-f", "-"], input=rules,
                   text=True, check=True)
    mute = check(hosts[1], states[1], ROUTE="b")
    assert mute.problems() == {"multicast"}
    assert mute.status == 1


@pytest.mark.system
@pytest.mark.timeout(120)
def test_a_node_of_another_version(hosts: list[Host], states: list[Path]) -> None:
    start_agent(hosts[0], states[0], OF_ANOTHER_VERSION, ROUTE="a")
    found = check(hosts[1], states[1], ROUTE="b")
    assert found.problems() == {"peer"}
    assert "it speaks protocol 9, we speak 1: upgrade this node" in found.of("peer")[0][1]


# ---- without other hosts ------------------------------------------------------------------------


def run(state: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Found:
    given = {"STATE_DIR": str(state), "BIND": "127.0.0.1", "SECRET": SECRET, "ROUTE": "a",
             "MULTICAST_PORT": str(free_port(socket.SOCK_DGRAM)), **settings}
    for name, value in given.items():
        monkeypatch.setenv(f"CLUSTERSESSION_{name}", value)
    outcome = CliRunner().invoke(main, ["check", "--json"])
    return Found(json.loads(outcome.output), outcome.exit_code)


def test_settings_that_are_wrong_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, PORT="0", ACK="some")
    assert found.status == 1
    assert [text.split()[0] for _, text in found.of("settings")] == ["port", "ack"]


def test_no_secret_on_an_address_that_others_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, SECRET="", BIND="10.77.0.9")
    assert found.status == 1
    assert "without a secret" in found.of("settings")[0][1]


def test_not_distributable_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(tmp_path, monkeypatch, DISTRIBUTABLE="false")
    assert found.status == 0
    assert found.of("peer") == found.of("ports") == []


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clustersession.net.interfaces._is_elsewhere", lambda host: False)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = run(tmp_path, monkeypatch, SEEDS="db.invalid:4000", MULTICAST_ADDRESS="")
    assert found.problems() == {"seeds"}
    assert "db.invalid:4000 does not resolve" in found.of("seeds")[0][1]


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    home = NodeHome(tmp_path / "clustersession.a")
    home.directory.mkdir(mode=0o700)
    (good,) = [v for v in check_host.check_state(home, agent_runs=False) if v.check == "state"]
    assert good.level == "ok"
    home.directory.chmod(0o755)
    (loose,) = [v for v in check_host.check_state(home, agent_runs=False) if v.check == "state"]
    assert loose.level == "warning"
    require_root("giving a directory away")
    os.chown(home.directory, 12345, -1)
    (foreign,) = check_host.check_state(home, agent_runs=False)
    assert foreign.level == "problem"
    assert "belongs to user 12345" in foreign.text


def test_a_state_directory_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_host.directories, "file_system_of", lambda path, mounts: "nfs4")
    (found,) = check_host.check_state(NodeHome(tmp_path / "clustersession.a"), agent_runs=False)
    assert found.level == "problem"
    assert "nfs4" in found.text


def test_a_replica_is_looked_at_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = ClusterSessionMiddleware(None, state_dir=str(tmp_path), route="a")
    node.runtime.manager()
    home = NodeHome(tmp_path / "clustersession.a")
    node.runtime.close()
    data = home.replica / "data.mdb"

    def replica() -> str:
        return next(
            v for v in check_host.check_state(home, agent_runs=False) if v.check == "replica"
        ).level.value

    assert replica() == "ok"
    os.truncate(data, 5000)
    assert replica() == "warning"
    assert data.stat().st_size == 5000


def test_limits_space_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    assert check_host.check_files([]).level == "problem"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (512, 512))
    assert check_host.check_files([os.getpid()]).level == "warning"
    monkeypatch.setattr(check_host, "SPACE_BYTES_MIN", 2**62)
    home = NodeHome(tmp_path / "clustersession.a")
    levels = {v.check: v.level for v in check_host.check_state(home, agent_runs=False)}
    assert levels["space"] == "problem"
    assert check_host.check_frameworks().level == "ok"
    monkeypatch.setattr(check_host.metadata, "version", lambda name: "0.1")
    assert "pip install" in check_host.check_frameworks().text


def test_a_cookie_that_contradicts_itself() -> None:
    def remarks(**settings: Any) -> list[str]:
        settings = {"cookie_secure": True, **settings}
        return [v.text for v in check_host.check_cookie(Settings(**settings)) if v.level != "ok"]

    assert remarks() == []
    assert "forgets the cookie" in remarks(cookie_max_age_s=60)[0]
    assert "strict" in remarks(cookie_samesite="strict")[0]
    assert "sticky" in remarks(consistency="causal", rewrite="always")[0]
    assert "HTTPS" in remarks(cookie_secure=False)[0]


@pytest.mark.parametrize(
    ("now_s", "skews", "level"),
    [(0, {}, "problem"), (time.time(), {}, "ok"), (time.time(), {"b": 90}, "ok"),
     (time.time(), {"b": 90, "c": -5_000}, "warning"), (time.time(), {"b": 400_000}, "problem")],
)
def test_clocks(now_s: float, skews: dict[str, int], level: str) -> None:
    assert check_host.check_clock(now_s, skews, 300).level == level
