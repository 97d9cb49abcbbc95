"""A node on a twentieth of a processor, under a little load: a member all the time.

Half a minute, so it runs by ``make lifecycle`` only.
"""

import os
import re
import time
from pathlib import Path

import pytest

from tests.lifecycle.quota import cpu_share
from tests.support.apps import fastapi_under_uvicorn
from tests.support.processes import wait_for
from tests.system.client import new_session, post
from tests.system.conftest import StartNodes, start_nodes

__all__ = ["start_nodes"]

pytestmark = [pytest.mark.system, pytest.mark.extended, pytest.mark.timeout(180)]

SHARE = 0.05
LASTS_S = 30.0
LOST = re.compile(r"member lost")


def test_a_node_on_5_percent_does_not_flap(start_nodes: StartNodes, tmp_path: Path) -> None:
    poor, other = start_nodes(fastapi_under_uvicorn, "tomcat1", "tomcat2")
    (tmp_path / "cpu").mkdir()
    name = f"clustersession-{os.getpid()}"
    with cpu_share(name, poor.pids(), SHARE, tmp_path / "cpu") as how:
        began_s, answered = time.monotonic(), 0

        def over() -> bool:
            nonlocal answered
            cookie = new_session(poor, n=answered)
            answered += post(poor, "/api/count", cookie, {}).status == 200
            return time.monotonic() - began_s > LASTS_S

        wait_for(over, "the end", LASTS_S + 60.0)
    print(f"by {how}: {answered} pairs of requests in {LASTS_S:g} s")
    assert answered > 3
    assert not other.lines_about("tomcat1", LOST), other.log_lines()
