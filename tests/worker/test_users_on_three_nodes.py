"""Users' sessions over real sockets: listed on every node, ended on every node."""

from pathlib import Path

import pytest

from clustersession.tools.demo.processes import wait_for
from tests.worker.thread_nodes import is_alive, login, opened, running_nodes

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


def test_four_sessions_on_three_nodes_are_listed_and_ended_everywhere(tmp_path: Path) -> None:
    with running_nodes(tmp_path, 3) as runtimes:
        managers = [runtime.manager() for runtime in runtimes]
        cookies = [login(managers[number % 3], "ann") for number in range(4)]
        bob = login(managers[0], "bob")
        for runtime in runtimes:
            wait_for(lambda r=runtime: len(r.sessions().sessions_of("ann")) == 4, "all four")
        current = opened(managers[1], cookies[1])
        assert runtimes[1].sessions().end_all("ann", except_current=current) == 3
        for manager in managers:
            for number, cookie in enumerate(cookies):
                wait_for(
                    lambda m=manager, n=number, c=cookie: is_alive(m, c) is (n == 1), "the end"
                )
            assert is_alive(manager, bob)
        assert runtimes[2].sessions().end_all("ann") == 1
        for manager in managers:
            wait_for(lambda m=manager: not is_alive(m, cookies[1]), "the end of the last one")
