"""Every session of a cluster is listed, and nothing else; who may not look is told why."""

import pytest

from clustersession.core.errors import StoreError
from clustersession.core.state import SessionState
from clustersession.net.store.asking import StoreAsker
from clustersession.net.store.listing import session_keys
from clustersession.net.store.open_store import StorePlan
from clustersession.net.store.refusals import COMMANDS_NEEDED
from clustersession.node.store_calls import Merge
from tests.net.store.plans import plan_for
from tests.store.servers import Server, cluster

STATE = SessionState(1, 1, 2**50, {}, {b"n" * 8: 1}, None)


async def listed(plan: StorePlan, written: list[str]) -> set[str]:
    asker = StoreAsker(plan)
    try:
        await asker.store.open(())
        for first in range(0, len(written), 500):
            await asker.ask(
                *(Merge(key, STATE, whole=True) for key in written[first : first + 500])
            )
        found: set[str] = set()
        async for keys in session_keys(asker.store, plan.calls.keys):
            found.update(keys)
        return found
    finally:
        await asker.store.close()


async def test_all_sessions_of_the_cluster_are_listed_and_no_other_key(empty: Server) -> None:
    wanted = [f"session {number}" for number in range(1_200)] + [".revoked.x"]
    await listed(plan_for(empty, name="other"), ["of another"])
    empty.admin.set("somebody's", 1)
    assert await listed(plan_for(empty), wanted) == set(wanted)


async def test_all_servers_of_a_cluster_are_looked_through(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cluster(program, tmp_path_factory.mktemp("c"), 3) as servers:
        url = f"valkey+cluster://127.0.0.1:{servers[0].port}"
        wanted = [f"session {number}" for number in range(50)]
        assert await listed(plan_for(servers[0], url=url), wanted) == set(wanted)


async def test_a_user_who_may_not_list_is_told_what_to_allow(empty: Server) -> None:
    empty.admin.execute_command(
        "ACL", "SETUSER", "shop", "on", ">pw", "~clustersession:tests:*", *COMMANDS_NEEDED.split()
    )
    plan = plan_for(empty, url=f"unix://shop:pw@{empty.socket}")
    with pytest.raises(StoreError, match=r"ACL SETUSER shop \+scan, and forbid"):
        await listed(plan, [])
    empty.admin.execute_command("ACL", "SETUSER", "shop", "+scan")
    assert await listed(plan, ["a"]) == {"a"}
