"""Records are replicated: any node exchanges the old cookie, and its end is known on all."""

import time
from pathlib import Path
from typing import cast

import pytest

from clustersession.session.legacy import record_key
from clustersession.session.manager import SessionManager
from clustersession.session.session import Session
from clustersession.session.visit import visit_of
from clustersession.tools.demo.processes import wait_for
from clustersession.tools.migration.importing import Importer
from clustersession.tools.migration.old_stores import OldSession
from tests.store.servers import SERVERS, required, running
from tests.worker.thread_nodes import running_nodes

OLD = "an-old-id-of-the-other-store-0001"
KEY = record_key(OLD)


def opened(manager: SessionManager) -> Session:
    visit = manager.open([])
    assert manager.legacy is not None
    manager.legacy.adopt(visit, (OLD,))
    return cast(Session, visit.session)


@pytest.mark.system
def test_a_record_imported_on_one_node_is_exchanged_on_another(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 2, legacy_cookie_name="old") as (one, two):
        first, second = one.manager(), two.manager()
        old = OldSession(KEY, {"user": "ada"}, time.time_ns() // 1_000_000 + 3_600_000)
        importer = Importer(first.replica, one.settings, "test")
        assert importer.run([old], print).imported == 1
        first.cluster.feed_moved(importer.head)
        wait_for(lambda: second.replica.get(KEY), "the record on the other node")
        here, there = opened(first), opened(second)
        assert dict(there) == {"user": "ada"}
        assert second.commit(visit_of(there)).set_cookie is not None
        # A tab that had been opened on the other node before.
        here["late"] = 1
        assert first.commit(visit_of(here)).set_cookie is not None
        assert here.sid == there.sid
        assert opened(first).sid == there.sid
        assert there.reload()
        assert dict(there) == {"user": "ada", "late": 1}
        there.invalidate()
        second.commit(visit_of(there))
        for manager in (first, second):
            assert dict(opened(manager)) == {}
        again = Importer(first.replica, one.settings, "test")
        assert again.run([old], print).exchanged == 1


@pytest.mark.system
@pytest.mark.parametrize("kind", SERVERS)
def test_with_a_store_too_a_record_is_exchanged_on_another_node(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        running(required(kind), tmp_path_factory.mktemp("s")) as server,
        running_nodes(tmp_path, 2, legacy_cookie_name="old", store=server.url) as (one, two),
    ):
        first, second = one.manager(), two.manager()
        old = OldSession(KEY, {"user": "ada"}, time.time_ns() // 1_000_000 + 3_600_000)
        importer = Importer(first.replica, one.settings, "test")
        assert importer.run([old], print).imported == 1
        first.cluster.feed_moved(importer.head)
        wait_for(lambda: server.admin.keys("*.old.*"), "the record in the store")
        assert second.replica.get(KEY) is None
        there = opened(second)
        second.fetch(visit_of(there))
        assert dict(there) == {"user": "ada"}
        assert second.commit(visit_of(there)).set_cookie is not None

        def ended_on_the_first() -> bool:
            state = first.replica.get(KEY)
            return state is not None and state.ended is not None

        wait_for(ended_on_the_first, "the first node to hear of the exchange")
        late = opened(first)
        late["late"] = 1
        assert first.commit(visit_of(late)).set_cookie is None
        assert dict(opened(second)) == {"user": "ada"}
