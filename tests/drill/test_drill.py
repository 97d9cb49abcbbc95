"""The operator's drill of docs/operations/drill.md, every command typed and every output compared.

One cluster for all: each drill must leave it healthy. ``make drill`` goes through it several times.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clustersession.agent.metrics_exposition import exposed
from clustersession.replica.journal.keeper import SYNC_INTERVAL_S
from tests.drill.document import Command, Drill, drills
from tests.drill.stand import SECRETS, VERSIONS, Stand, running_stand
from tests.faults.cluster import pause
from tests.faults.history import Operation, Outcome
from tests.support.alerting import (
    Scrape,
    alert_names,
    firing,
    lasting,
    merged,
    scraped,
    steady,
)
from tests.support.processes import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SCRAPE_INTERVAL_S = 1.5


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(Path(tmp_path_factory.mktemp("drill"))) as running:
        yield running


class Rehearsal:
    """One drill on the stand: its steps in order, and the alerts that it raised."""

    def __init__(self, drill: Drill, stand: Stand) -> None:
        self.drill = drill
        self._stand = stand
        self._before = self._scrape()
        self._alerts: set[str] = set()
        self._left = list(drill.steps)

    def through(self, title: str) -> None:
        """All steps up to the one of that title."""
        assert title in {step.title for step in self._left}, f"no step {title!r} is left"
        while True:
            step = self._left.pop(0)
            self._stand.perform(step)
            if step.title == title:
                return

    def watch(self, *wanted: str, silent: str = "") -> None:
        """Note which alerts fire if it stays as it is for some minutes.

        Looks again while some that are wanted do not. silent: the node whose agent does not answer,
        so that nobody waits for it.
        """
        scrapes, looks = [self._scrape(silent)], []

        def seen() -> bool:
            pause(SCRAPE_INTERVAL_S)
            scrapes.append(self._scrape(silent))
            first, second = scrapes[-2:]
            looks.append(firing(merged(
                lasting(self._before[route], first[route], second[route]) for route in first
            )))
            self._alerts |= steady(looks, wanted)
            return len(looks) > 1 and self._alerts >= set(wanted)

        wait_for(seen, f"the alerts {wanted}, besides {self._alerts}")

    def finish(self) -> None:
        """The steps that are left; and that the document named the alerts that there were."""
        if self._left:
            self.through(self._left[-1].title)
        assert self._alerts == self.drill.alerts

    def _scrape(self, silent: str = "") -> dict[str, Scrape]:
        found = {}
        for node in self._stand.cluster.nodes:
            status = {} if node.route in silent else node.status()
            answers = "agent_pid" in status
            samples = scraped(b"".join(exposed(status)).decode(), node.route) if answers else {}
            found[node.route] = Scrape(time.monotonic(), samples)
        return found


@contextmanager
def rehearsed(stand: Stand, title: str) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(drills()[title], stand)
    yield rehearsal
    rehearsal.finish()
    stand.cluster.wait_until_settled()


def without_failure(history: list[Operation]) -> None:
    failed = [o for o in history if o.outcome not in (Outcome.ACKNOWLEDGED, Outcome.MISSING)]
    assert not [o for o in failed if o.kind != "ghost"], failed[:5]


def test_every_drill_of_the_document_is_run_and_every_step_says_what_to_type() -> None:
    run = {
        "A node is lost", "A node is slow", "The network is split", "A disk is full",
        "The secret is rotated", "A rolling upgrade", "Every host lost power",
    }
    found = drills()
    assert set(found) == run
    for drill in found.values():
        assert [step.number for step in drill.steps] == list(range(1, len(drill.steps) + 1))
        assert all(step.commands and step.title for step in drill.steps), drill.title
        assert any(command.shown for step in drill.steps for command in step.commands)
        assert drill.alerts <= set(alert_names())


def test_a_document_that_disagrees_with_the_output_is_found() -> None:
    table = Command("tomcat1", "look", ("STATUS  NODE", "tomcat2  dead  …", "tomcat2 (…): gone"))
    output = "STATUS   NODE\ntomcat3  alive  1\ntomcat2  dead   2\ntomcat2 (2): gone\n"
    assert table.missing(output) == ""
    assert table.missing(output.replace("dead ", "alive")) == "tomcat2  dead  …"
    assert table.missing(output.replace("gone", "gone away")) == "tomcat2 (…): gone"
    in_other_order = "\n".join(reversed(output.splitlines()))
    assert table.missing(in_other_order) == "tomcat2  dead  …"


def test_what_fires_in_one_look_alone_came_late_and_counts_if_it_is_wanted() -> None:
    look = frozenset[str]
    assert steady([look({"a", "b"})], ()) == set()
    assert steady([look({"a", "b"}), look({"a"}), look({"a", "c"})], ()) == {"a"}
    assert steady([look({"b"}), look(), look({"c"})], ("b",)) == {"b"}


def test_a_command_that_fails_where_the_document_does_not_show_it_is_found(stand: Stand) -> None:
    with pytest.raises(AssertionError, match="exits with 2"):
        stand.type(stand.node("tomcat1"), Command("tomcat1", "(exit 2)", ()))
    with pytest.raises(AssertionError, match="exits with 0"):
        stand.type(stand.node("tomcat1"), Command("tomcat1", "echo Error", ("Error",)))


def test_a_node_is_lost(stand: Stand) -> None:
    with rehearsed(stand, "A node is lost") as drill:
        stand.start_load()
        drill.through("Look at it")
        drill.watch()
        drill.finish()
        pause(1.0)
    history = stand.stop_load()
    assert not [o for o in history if o.outcome is Outcome.MISSING and o.kind != "ghost"]
    stand.judge(history)
    for node in stand.cluster.nodes:
        assert 'peer_up{peer="tomcat2"} 0' not in stand.run(node, "clustersession metrics")[0]


def test_every_host_lost_power(stand: Stand) -> None:
    with rehearsed(stand, "Every host lost power") as drill:
        _, _, kept = stand.request("tomcat1", "/create", "", "kept")
        _, _, gone = stand.request("tomcat2", "/create", "", "gone")
        wait_for(lambda: stand.request("tomcat3", "/read", gone)[0] == 200, "it to be there")
        # So long that it is on the disk of some host.
        pause(2 * SYNC_INTERVAL_S)
        assert stand.request("tomcat3", "/logout", gone)[0] == 200
        drill.through("Start one host.")
        assert stand.request("tomcat1", "/read", kept)[0] != 200
        drill.watch("ClustersessionRecoveryWaits", silent="tomcat2 tomcat3")
        drill.finish()
    for node in stand.cluster.nodes:
        assert stand.request(node.route, "/read", kept)[0] == 200
        assert stand.request(node.route, "/read", gone)[0] == 410


def test_a_node_is_slow(stand: Stand) -> None:
    with rehearsed(stand, "A node is slow") as drill:
        stand.start_load()
        began_s = time.time()
        drill.through("Starve its agent")
        behind = lambda: [  # noqa: E731
            m for m in stand.node("tomcat1").status()["members"]
            if m["route"] == "tomcat3" and m["behind_us"] > 5 and m["heard_s"] > 0.5
        ]
        wait_for(behind, "tomcat3 to fall behind", 10.0)
        drill.through("See which node it is.")
        drill.watch("ClustersessionWritesUnconfirmed")
        drill.through("Ask it.")
        drill.watch(silent="tomcat3")
        drill.finish()
    history = stand.stop_load()
    # What no peer has confirmed is out of reach while the node stands still, as documented.
    misses = {o.owner for o in history if o.node == "tomcat3" and o.began_s > began_s}
    # Nor does a login elsewhere take it along, and then the former id has ended.
    without = {
        o.owner for o in history
        if o.owner in misses and o.kind == "login" and o.node != "tomcat3" and o.began_s > began_s
    }
    stand.judge([o for o in history if o.owner not in without], misses)


def test_the_network_is_split(stand: Stand) -> None:
    both, gone = "", ""
    with rehearsed(stand, "The network is split") as drill:
        _, _, both = stand.request("tomcat1", "/create", "", "split")
        _, _, gone = stand.request("tomcat1", "/create", "", "gone")
        wait_for(lambda: stand.request("tomcat3", "/read", gone)[0] == 200, "it to be there")
        stand.start_load()
        drill.through("Look from the other.")
        for node in ("tomcat1", "tomcat3"):
            assert stand.request(node, "/add", both, node)[0] == 200
        assert stand.request("tomcat1", "/logout", gone)[0] == 200
        assert stand.request("tomcat3", "/add", gone, "later")[0] == 200
        drill.watch()
        drill.finish()
    stand.judge(stand.stop_load())
    for node in stand.cluster.nodes:
        status, content, _ = stand.request(node.route, "/read", both)
        assert (status, content["data"]["values"]) == (200, ["tomcat1", "tomcat3"])
        assert stand.request(node.route, "/read", gone)[0] == 410


def test_a_disk_is_full(stand: Stand) -> None:
    with rehearsed(stand, "A disk is full") as drill:
        # They use up within seconds what the replica has free inside.
        stand.start_load(padding_bytes=48_000)
        began_s = time.time()
        drill.through("See that it is this.")
        drill.watch(
            "ClustersessionReplicaFull", "ClustersessionJournalAway",
            "ClustersessionWritesUnconfirmed",
        )
        drill.through("Move its users away.")
        moved_s = time.time()
        pause(1.0)
        drill.finish()
    history = stand.stop_load()
    # What was answered by the full node until its users were moved is not stored, as documented.
    at_risk = {
        o.owner for o in history if o.node == "tomcat3" and began_s - 1 < o.began_s < moved_s
    }
    stand.judge([o for o in history if o.owner not in at_risk])


def test_the_secret_is_rotated(stand: Stand) -> None:
    with rehearsed(stand, "The secret is rotated") as drill:
        _, _, oldest = stand.request("tomcat1", "/create", "", "oldest")
        stand.start_load(balanced=True)
        drill.through("Teach every node the new one")
        drill.through("Put the new one first.")
        history = stand.stop_load()
        without_failure(history)
        stand.judge(history)
        assert stand.request("tomcat2", "/read", oldest)[0] == 200
        drill.watch()
        # The wait: users whose sessions are older than that have gone.
        stand.start_load(balanced=True)
        drill.finish()
    history = stand.stop_load()
    without_failure(history)
    stand.judge(history)
    for node in stand.cluster.nodes:
        assert SECRETS["OLD"] not in stand.unit_file(node).read_text()
        assert stand.request(node.route, "/read", oldest)[0] == 410


def test_a_rolling_upgrade(stand: Stand) -> None:
    with rehearsed(stand, "A rolling upgrade") as drill:
        stand.start_load(balanced=True)
        drill.through("Upgrade one node.")
        agents = [node.status()["version"] for node in stand.cluster.nodes]
        assert agents == [VERSIONS["NEW"], VERSIONS["OLD"], VERSIONS["OLD"]]
        drill.through("See both versions work together.")
        drill.through("Upgrade the others")
        drill.watch()
        drill.finish()
    history = stand.stop_load()
    without_failure(history)
    stand.judge(history)
    assert not list(stand.node("tomcat3").home.directory.glob("replica.newer*"))
