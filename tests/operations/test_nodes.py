"""Finding the node of this host that is meant."""

from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.operations.nodes import NoSuchNode, find_home, newest_events, replica
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings


def made(base: Path, *names: str) -> None:
    for name in names:
        (base / name / "replica").mkdir(parents=True)


def found(base: Path, **settings: str) -> str:
    return find_home(Settings(state_dir=str(base), **settings)).directory.name


def test_the_only_node_is_found_whatever_its_cluster(tmp_path: Path) -> None:
    made(tmp_path, "shop.tomcat1")
    (tmp_path / "no-node.txt").write_text("")
    assert found(tmp_path) == "shop.tomcat1"
    assert found(tmp_path, route="tomcat1") == "shop.tomcat1"


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    made(tmp_path, "shop.tomcat1", "shop.tomcat2", "bank.tomcat1")
    with pytest.raises(NoSuchNode, match=r"bank.tomcat1, shop.tomcat1, shop.tomcat2 .*choose"):
        found(tmp_path)
    assert found(tmp_path, route="tomcat2") == "shop.tomcat2"
    assert found(tmp_path, route="tomcat1", cluster_name="bank") == "bank.tomcat1"
    with pytest.raises(NoSuchNode, match=r"no node tomcat9 .* there is bank.tomcat1"):
        found(tmp_path, route="tomcat9")


def test_the_cluster_of_the_default_name_comes_first(tmp_path: Path) -> None:
    made(tmp_path, f"{Settings().cluster_name}.a", "shop.a")
    assert found(tmp_path) == f"{Settings().cluster_name}.a"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSuchNode, match="there is nothing"):
        found(tmp_path)
    home = NodeHome(tmp_path / "shop.tomcat1")
    with pytest.raises(ReplicaUnusable, match="there is no replica"), replica(home):
        pass
    home.directory.mkdir()
    assert newest_events(home) == []
