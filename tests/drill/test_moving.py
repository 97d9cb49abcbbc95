"""Every procedure of docs/operations/move.md, word for word, with users who stay logged in."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from clustersession.tools.demo.processes import wait_for
from tests.drill.document import drills
from tests.drill.moving import Hosts, User, users_of
from tests.store.servers import required, running
from tests.system.client import data, post

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

WAY = (
    "From alone to a cluster", "From a cluster to a store", "From a store to a cluster",
    "From a cluster to alone",
)


@pytest.fixture
def hosts(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    program = required("redis")
    with running(program, tmp_path_factory.mktemp("s")) as store:
        made = Hosts(tmp_path, store.url)
        try:
            yield made
        finally:
            made.close()


def test_from_alone_to_a_cluster_to_a_store_and_all_the_way_back(hosts: Hosts) -> None:
    procedures = drills("move.md")
    assert tuple(procedures) == WAY
    hosts.start(hosts.node("tomcat1"))
    guests: dict[str, str] = {}
    ended: list[str] = []
    with users_of(hosts, 4) as users:
        for title in WAY:
            for step in procedures[title].steps:
                look = partial(come_and_go, hosts, guests, ended, f"{title}, {step.number}")
                hosts.perform(step, look)
                look()
                assert not [wrong for user in users for wrong in user.wrong]
    for user in users:
        assert user.written > 20
        wrote(hosts, user)


def come_and_go(hosts: Hosts, guests: dict[str, str], ended: list[str], where: str) -> None:
    """Who logged in is known everywhere, and who logged out nowhere.

    The last ones log in at the end, and nobody looks for them before the next step.
    """
    for name, cookie in guests.items():
        for node in hosts.up:
            wait_for(
                lambda n=node, c=cookie, w=name: data(n, c).get("user") == w,
                f"{node.route} to know {name} after {where}",
            )
    for cookie in ended:
        for node in hosts.up:
            wait_for(lambda n=node, c=cookie: data(n, c) == {}, f"a logout after {where}")
    for node in reversed(hosts.up):
        if guests:
            ended.append(guests.pop(next(iter(guests))))
            assert post(node, "/api/logout", ended[-1], {}).status == 200
    for node in hosts.up:
        for _ in range(2):
            name = f"{len(guests) + len(ended)} on {node.route} before {where}"
            cookie = post(node, "/api/login", None, {"user": name}).cookie
            assert cookie is not None
            guests[name] = cookie


def wrote(hosts: Hosts, user: User) -> None:
    """What the user wrote last is there."""
    for node in hosts.up:
        wait_for(
            lambda n=node: data(n, user.cookie) == {"user": user.name, "n": user.written},
            f"what {user.name} wrote last",
        )
