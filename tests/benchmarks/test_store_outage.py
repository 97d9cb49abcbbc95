"""The benchmark of outages: what it counts is there, and nothing of it happens to users of ours."""

import pytest

from benchmarks.outage_users import Losses, User
from benchmarks.store_outage import OUTAGES, Size, measure
from clustersession.tools.demo.processes import free_port
from tests.support.processes import require_programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_users_of_ours_notice_no_outage_and_those_of_others_do() -> None:
    require_programs("redis-server")
    result = measure(Size(users=2, away_s=1.0, there_s=0.7, patience_s=10.0))
    assert not [target.what for target in result.targets if not target.met]
    tables = {table.title: {row[0]: row[1:] for row in table.rows} for table in result.tables}
    assert tables.keys() == OUTAGES.keys()
    failed, logins = 1, 4
    assert tables["killed, back with its data"]["starsessions"][failed]
    assert tables["killed, back with its data"]["Django, cached_db"][failed]
    for name in ("starsessions", "Flask-Session", "Django, cache"):
        assert tables["FLUSHALL"][name][logins], name


async def test_a_server_that_is_not_there_is_a_failed_request() -> None:
    losses = Losses()
    user = User("ann", free_port(), losses, patience_s=1.0)
    assert await user.log_in() is False
    assert (losses.requests, losses.failed) == (1, 1)
