"""What follows from what Tomcat's files leave out."""

import tomllib
from pathlib import Path

from clustersession.settings.settings import Settings
from tests.tools.tomcat.conversion import FILES, HA, fates, imported, run, settings_in


def test_a_bare_cluster_is_explained_as_well(tmp_path: Path) -> None:
    text = run(FILES / "bare.xml", FILES / "web.xml")
    assert settings_in(text, tmp_path) == Settings(distributable=True, route="tomcat1")
    for default in ("8, asynchronous", "DeltaManager", "McastService 228.0.0.4:45564",
                    "NioReceiver", "PooledParallelSender", "TcpFailureDetector",
                    "ClusterSessionListener", "JvmRouteBinderValve", "JSESSIONID", "30 minutes"):
        assert default in text


def test_without_distributable_nothing_is_replicated(tmp_path: Path) -> None:
    web = tmp_path / "web.xml"
    web.write_text("<web-app/>")
    assert settings_in(run(FILES / "server.xml", web), tmp_path).distributable is False


def test_without_multicast_and_members_there_is_something_to_decide(tmp_path: Path) -> None:
    cloud = '<Membership className="x.CloudMembershipService" membershipProviderClassName="dns"/>'
    found = imported(tmp_path, f"<Channel>{cloud}</Channel>")
    assert found["settings"]["multicast_address"] == ""
    assert fates(found)["neither multicast nor members"] == "to decide"
    server = tmp_path / "mute.xml"
    server.write_text(f'<Cluster className="{HA}.tcp.SimpleTcpCluster" channelStartOptions="3"/>')
    assert tomllib.loads(run(server))["multicast_address"] == ""
