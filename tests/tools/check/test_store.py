"""What ``clustersession check`` says about a store."""

from collections.abc import Iterator
from typing import Any

import pytest

from clustersession.settings.settings import Settings
from clustersession.tools.check import store as check
from clustersession.tools.check.report import Level, Verdict
from clustersession.tools.check.store import check_store
from tests.store.servers import SERVERS, Server, required, running
from tests.tools.check.found import SECRET


@pytest.fixture(params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of each kind."""
    with running(required(request.param), tmp_path_factory.mktemp("s")) as made:
        yield made


async def verdicts(server: Server, query: str = "") -> list[Verdict]:
    return await check_store(
        Settings(distributable=True, secret=(SECRET,), store=f"{server.url}{query}")
    )


async def test_all_is_well(server: Server) -> None:
    found = await verdicts(server)
    assert {verdict.level for verdict in found} == {Level.OK}
    texts = "\n".join(verdict.text for verdict in found)
    for words in ("let in, by functions", "there and back", "right within a second",
                  "its reader was told"):
        assert words in texts
    keys: Any = server.admin.keys()
    assert all(0 < server.admin.pttl(key) <= 2_000 for key in keys)  # type: ignore[operator]


async def test_what_cannot_work_is_one_problem(server: Server) -> None:
    [found] = await verdicts(server, "?db=99")
    assert found.level is Level.PROBLEM
    assert "no such database" in found.text


async def test_a_store_that_drops_sessions(server: Server) -> None:
    server.admin.config_set("maxmemory", "100mb")
    server.admin.config_set("maxmemory-policy", "volatile-ttl")
    assert [v.text for v in await verdicts(server) if v.level is Level.WARNING] == [
        text for text in [v.text for v in await verdicts(server)] if "set noeviction" in text
    ]


async def test_a_clock_that_is_wrong(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    right = check.time.time
    for ahead_s, level in ((30, Level.WARNING), (-4_000, Level.PROBLEM)):
        with monkeypatch.context() as patch:
            patch.setattr(check.time, "time", lambda: right() + ahead_s)  # noqa: B023
            found = [v for v in await verdicts(server) if "clock differs" in v.text]
        assert [verdict.level for verdict in found] == [level]


async def test_a_reader_that_is_told_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(check.StoreAsker, "store_changed", lambda self, keys: None)
    [found] = [v for v in await verdicts(server) if v.level is Level.PROBLEM]
    assert "its reader was not told" in found.text
