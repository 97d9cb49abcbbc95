"""``clustersession check`` beside real nodes on another host, and what it says of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clustersession.core.errors import ClusterSessionError
from clustersession.operations.nodes import status
from clustersession.replica.home import NodeHome
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.known_secrets import directory_name
from tests.support.namespaces import Host, network
from tests.support.processes import require_programs
from tests.tools.check.found import SECRET, Found

OTHER_SECRET = "hV2c_Jm9Pq4-sX6zUa1f"
PATIENCE_S = 40
OF_ANOTHER_VERSION = """
from clustersession.node import life
from clustersession.wire import messages
for module in life, messages:
    module.PROTOCOL_VERSION = module.PROTOCOL_VERSION_MIN = 9
from clustersession.cli import main
main()
"""


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
    cluster_name = settings.get("CLUSTER_NAME", "clustersession")
    secret = settings.get("SECRET", SECRET)
    home = NodeHome(state / directory_name(cluster_name, settings["ROUTE"], secret))
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
    assert ("warning", f"{hosts[0].address} sends with another secret: harmless from another "
            "application; a node of this cluster needs the same CLUSTERSESSION_SECRET"
            ) in stranger.of("multicast")

    own = check(hosts[0], states[0], ROUTE="a")
    assert own.status == 0
    assert "this node's agent" in own.of("ports")[0][1]

    hosts[0].drop(arriving="udp dport 4000")
    without_udp = check(hosts[1], states[1], **seed)
    assert without_udp.status == 0
    assert "no answer by UDP" in without_udp.of("udp")[0][1]

    # Nobody noticed but for the counters, and those refused are no members either.
    after = status(home)
    assert after["members"] == []
    assert after["counters"]["questions who we are"] == 4


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
