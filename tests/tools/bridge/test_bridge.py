"""What a bridge brings from a store to a node and back, and what it refuses."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.core.errors import ReplicaFull, StoreError
from clustersession.session.manager import SessionManager
from clustersession.tools.bridge.bridge import LostPast
from clustersession.tools.bridge.room import StoreTooLarge
from clustersession.tools.demo.processes import wait_for
from tests.store.servers import SERVERS, Server, required, running
from tests.tools.bridge.stand import bridge_of
from tests.worker.thread_nodes import is_alive, login, opened, running_nodes

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=SERVERS)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of each kind, empty."""
    with running(required(request.param), tmp_path_factory.mktemp("s")) as made:
        yield made


def log_out(manager: SessionManager, cookie: str) -> None:
    visit = manager.open([cookie])
    if visit.missing:
        manager.fetch(visit)
    visit.session.invalidate()  # type: ignore[union-attr]
    manager.commit(visit)


def test_what_only_the_store_holds_comes_with_its_ends_and_revocations(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(tmp_path / "before", 1, store=store.url) as (node,):
        kept, ended, revoked = (login(node.manager(), user) for user in ("ann", "ann", "bob"))
        log_out(node.manager(), ended)
        node.sessions().end_all("bob")
    lines: list[str] = []
    with running_nodes(tmp_path / "after", 2) as (first, second):
        assert not is_alive(first.manager(), kept), "nobody but the store has it"
        asyncio.run(bridge_of(first, store.url, lines.append).join_once())
        for node in (first, second):
            assert is_alive(node.manager(), kept)
            assert not is_alive(node.manager(), ended)
            assert not is_alive(node.manager(), revoked)
    assert lines[-1].startswith("in step with the store: 4 sessions read, 4 of them news here")


def test_what_the_node_holds_goes_there_but_not_what_is_to_stay(
    store: Server, tmp_path: Path
) -> None:
    with running_nodes(tmp_path / "before", 1, local_attributes=("n",)) as (node,):
        cookie, ended = login(node.manager(), "ann"), login(node.manager(), "ann")
        log_out(node.manager(), ended)
        bridge = bridge_of(node, store.url)
        asyncio.run(bridge.join_once())
        assert bridge.tally.told == 2
        again = bridge_of(node, store.url)
        asyncio.run(again.join_once())
        assert again.tally.told == 0
    with running_nodes(tmp_path / "after", 1, store=store.url) as (node,):
        assert len(node.sessions().sessions_of("ann")) == 1, "the index names it too"
        found = opened(node.manager(), cookie)
        assert (found.principal, dict(found)) == ("ann", {})
        assert not is_alive(node.manager(), ended)


async def test_each_change_is_passed_on_both_ways_over_an_outage(
    store: Server, tmp_path: Path
) -> None:
    lines: list[str] = []

    def run() -> None:
        with (
            running_nodes(tmp_path / "peers", 1) as (peer,),
            running_nodes(tmp_path / "stored", 1, store=store.url) as (stored,),
        ):
            loop_bridge = bridge_of(peer, store.url, lines.append)
            work = asyncio.run_coroutine_threadsafe(loop_bridge.follow(), loop)
            try:
                for _ in range(2):
                    wait_for(lambda: "in step" in " ".join(lines[-1:]), "the bridge to be in step")
                    there, here = login(stored.manager(), "ann"), login(peer.manager(), "bob")
                    wait_for(lambda c=there: is_alive(peer.manager(), c), "what the store got")
                    wait_for(lambda c=here: is_alive(stored.manager(), c), "what the node wrote")
                    log_out(peer.manager(), there)
                    log_out(stored.manager(), here)
                    wait_for(lambda c=there: not is_alive(stored.manager(), c), "an end here")
                    wait_for(lambda c=here: not is_alive(peer.manager(), c), "an end there")
                    store.kill()
                    wait_for(lambda: "not in step" in lines[-1], "the bridge to notice")
                    store.start()
            finally:
                work.cancel()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(run)
    assert sum("not in step" in line for line in lines) == 2


async def test_a_full_store_is_told_of_once_and_gets_the_rest_when_it_has_space(
    store: Server, tmp_path: Path
) -> None:
    lines: list[str] = []

    def run() -> None:
        with running_nodes(tmp_path, 1) as (peer,):
            login(peer.manager(), "ann")
            store.admin.config_set("maxmemory", "1")
            once = bridge_of(peer, store.url)
            with pytest.raises(StoreError, match="full: 1 sessions of this node are not there"):
                asyncio.run(once.join_once())
            work = asyncio.run_coroutine_threadsafe(
                bridge_of(peer, store.url, lines.append).follow(), loop
            )
            try:
                wait_for(lambda: "is full" in " ".join(lines), "the bridge to tell")
                login(peer.manager(), "bob")
                store.admin.config_set("maxmemory", "0")
                wait_for(lambda: "has taken" in lines[-1], "the bridge to tell the rest")
                wait_for(lambda: len(sessions_in(store)) == 2, "both to be there")
            finally:
                work.cancel()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(run)
    assert sum("is full" in line for line in lines) == 1


async def test_a_damaged_session_is_told_again_by_who_holds_it(
    store: Server, tmp_path: Path
) -> None:
    lines: list[str] = []
    with running_nodes(tmp_path, 1) as (peer,):
        login(peer.manager(), "ann")
        await bridge_of(peer, store.url).join_once()
        [name] = sessions_in(store)
        before = store.admin.hgetall(name)
        forged = {field: b"0" * 48 + b"1forged" for field in before if field.startswith(b"r")}
        store.admin.hset(name, mapping=forged)
        store.admin.set(b"clustersession:" + name.split(b":")[1] + b":s:{other}", "a text")
        bridge = bridge_of(peer, store.url, lines.append)
        await bridge.join_once()
        assert bridge.tally.told == 1
        assert await bridge_of(peer, store.url).join_once() is None
        assert store.admin.hgetall(name).keys() == before.keys()
        assert sum("damaged" in line for line in lines) == 1


def sessions_in(store: Server) -> list[bytes]:
    return [name for name in store.admin.keys("*") if b":s:{" in name]


def test_a_store_that_has_more_than_there_is_room_for_is_refused(
    store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_nodes(tmp_path / "before", 1, store=store.url) as (node,):
        for _ in range(5):
            login(node.manager(), "ann")
    with running_nodes(tmp_path / "after", 1) as (node,):
        bridge = bridge_of(node, store.url)
        with monkeypatch.context() as patch:
            patch.setattr(bridge._room, "_left", lambda: 2_000)
            with pytest.raises(StoreTooLarge, match=r"the store has 5 sessions that this node "
                               r"lacks, .* 0\.0 MiB, and there is room for .*raise map_bytes"):
                asyncio.run(bridge.join_once())
        assert node.manager().replica.stats().sessions == 0, "nothing was begun"

        def full(*_: object) -> int:
            raise ReplicaFull("full")

        with monkeypatch.context() as patch:
            patch.setattr(type(node.manager().replica), "merge", full)
            with pytest.raises(StoreTooLarge, match="the replica is full before all"):
                asyncio.run(bridge.join_once())
        asyncio.run(bridge.join_once())
        assert node.manager().replica.stats().sessions == 5


def test_a_replica_that_has_lost_its_writes_is_refused(store: Server, tmp_path: Path) -> None:
    with running_nodes(tmp_path, 1) as (node,):
        login(node.manager(), "ann")
        replica = node.manager().replica
        asyncio.run(bridge_of(node, store.url).join_once())
        bridge = bridge_of(node, store.url)
        bridge._replica = FallenBack(replica)  # type: ignore[assignment]
        with pytest.raises(LostPast, match="start the node with the store once"):
            asyncio.run(bridge.join_once())


class FallenBack:
    """A replica as it was before its first write."""

    def __init__(self, replica: object) -> None:
        self._replica = replica

    def __getattr__(self, name: str) -> object:
        return getattr(self._replica, name)

    def head(self) -> int:
        return 0


def test_the_command_refuses_a_node_that_has_the_store_itself_and_joins_one_that_has_not(
    store: Server, tmp_path: Path
) -> None:
    settings = {
        "CLUSTERSESSION_DISTRIBUTABLE": "true", "CLUSTERSESSION_SECRET": "s" * 32,
        "CLUSTERSESSION_ROUTE": "node1", "CLUSTERSESSION_STATE_DIR": str(tmp_path),
        "CLUSTERSESSION_STORE": store.url,
    }
    command = CliRunner(env=settings).invoke
    with running_nodes(tmp_path, 1, store=store.url) as (node,):
        login(node.manager(), "ann")
        refused = command(main, ["bridge", "--once"])
    assert refused.exit_code == 1
    assert "the node has a store itself" in refused.output
    joined = command(main, ["bridge", "--once"])
    assert joined.exit_code == 0, joined.output
    assert "in step with the store: 1 sessions read, 0 of them news here" in joined.output
    unknown = command(main, ["bridge"], env={**settings, "CLUSTERSESSION_SECRET": None})
    assert unknown.exit_code == 1
    assert "is not set here" in unknown.output
    assert "set CLUSTERSESSION_SECRET" in unknown.output
    missing = command(main, ["bridge"], env={**settings, "CLUSTERSESSION_STORE": ""})
    assert missing.exit_code == 1
    assert "store is not set here" in missing.output
