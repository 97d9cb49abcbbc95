"""Finding the node of this host that is meant."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from clustersession.core.errors import ReplicaUnusable
from clustersession.operations.nodes import NoSuchNode, find_home, newest_events, replica
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import HeldDirectory
from clustersession.settings.settings import Settings
from clustersession.worker.known_secrets import find_or_begin
from tests.support.processes import require_root

NUMBER = ".0123456789ab"


def made(base: Path, *names: str) -> None:
    for name in names:
        (base / f"{name}{NUMBER}" / "replica").mkdir(parents=True)


def found(base: Path, **settings: str) -> str:
    home = find_home(Settings(state_dir=str(base), **settings))
    return home.directory.name.removesuffix(NUMBER)


def test_the_only_node_is_found_whatever_its_cluster(tmp_path: Path) -> None:
    made(tmp_path, "shop.tomcat1")
    (tmp_path / "no-node.txt").write_text("")
    assert found(tmp_path) == "shop.tomcat1"
    assert found(tmp_path, route="tomcat1") == "shop.tomcat1"


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    made(tmp_path, "shop.tomcat1", "shop.tomcat2", "bank.tomcat1")
    with pytest.raises(NoSuchNode, match=r"(?s)bank.tomcat1.*shop.tomcat1.*shop.tomcat2.*choose"):
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


def test_to_another_user_it_is_said_whose_the_nodes_are(tmp_path: Path) -> None:
    require_root("being another user")
    made(tmp_path, "shop.tomcat1")
    tmp_path.chmod(0o700)
    os.seteuid(65534)
    try:
        for state_dir in (tmp_path, tmp_path / f"shop.tomcat1{NUMBER}"):
            with pytest.raises(NoSuchNode, match="run this as the user that the application"):
                find_home(Settings(state_dir=str(state_dir)))
    finally:
        os.seteuid(0)


def begun(base: Path, *secrets: str) -> NodeHome:
    home = find_or_begin(base, "shop", "tomcat1", secrets)
    home.replica.mkdir(exist_ok=True)
    return home


def test_of_two_applications_the_secret_or_the_directory_tells_which(tmp_path: Path) -> None:
    bank, wiki = begun(tmp_path, "secret of the bank"), begun(tmp_path, "secret of the wiki")
    with closing(HeldDirectory(wiki.replica)), pytest.raises(NoSuchNode) as refused:
        find_home(Settings(state_dir=str(tmp_path)), in_use=False)
    told = str(refused.value)
    assert f"{wiki.directory.name}: open in process {os.getpid()}" in told
    assert f"{bank.directory.name}: not open in any process" in told
    assert told.endswith(f"before the command, with --state-dir {wiki.directory}")
    for home, secret in ((bank, "secret of the bank"), (wiki, "secret of the wiki")):
        assert find_home(Settings(state_dir=str(home.directory))) == home
        settings = Settings(state_dir=str(tmp_path), secret=("another of sixteen", secret))
        assert find_home(settings) == home
    with pytest.raises(NoSuchNode, match="with the secret that is set here"):
        find_home(Settings(state_dir=str(tmp_path), secret=("another of sixteen",)))


def test_of_nodes_that_were_left_and_one_in_use_that_one_is_meant(tmp_path: Path) -> None:
    bank, wiki = begun(tmp_path, "secret of the bank"), begun(tmp_path, "secret of the wiki")
    made(tmp_path, "shop.tomcat2")
    held = HeldDirectory(wiki.replica)
    assert find_home(Settings(state_dir=str(tmp_path))) == wiki
    assert find_home(Settings(state_dir=str(tmp_path), route="tomcat1")) == wiki
    assert found(tmp_path, route="tomcat2") == "shop.tomcat2"
    both = HeldDirectory(bank.replica)
    with pytest.raises(NoSuchNode, match=r"several nodes live .*(?s:.*)--cluster-name and --route"):
        found(tmp_path)
    both.close()
    held.close()


def test_a_host_with_many_left_nodes_is_told_of_some(tmp_path: Path) -> None:
    made(tmp_path, *(f"shop.tomcat{number}" for number in range(1, 9)))
    with pytest.raises(NoSuchNode) as refused:
        found(tmp_path)
    told = str(refused.value)
    assert told.count("never used") + told.count("last used") == 5
    assert "and 3 more" in told
