"""Which cluster and which context of the files is imported."""

import tomllib
from pathlib import Path

from tests.tools.tomcat.conversion import FILES, HA, run

TWO = f"""<Server><Service><Engine name="Catalina" jvmRoute="a">
    <Host name="one"><Cluster className="{HA}.tcp.SimpleTcpCluster"/>
      <Context path="/shop"><Manager maxInactiveInterval="60"/></Context><Context path="/x"/></Host>
    <Host name="two"><Cluster className="{HA}.tcp.SimpleTcpCluster" channelSendOptions="6"/></Host>
    </Engine></Service></Server>"""


def test_of_several_clusters_and_contexts_one_has_to_be_chosen(tmp_path: Path) -> None:
    server = tmp_path / "server.xml"
    server.write_text(TWO)
    refusal = run(server, status=1)
    assert "Catalina/one (line 2), Catalina/two (line 4)" in refusal
    assert tomllib.loads(run("--cluster", "Catalina/two", server))["ack"] == "all"
    assert "--context" in run("--cluster", "Catalina/one", server, status=1)
    chosen = run("--cluster", "Catalina/one", "--context", "/shop", server)
    assert tomllib.loads(chosen)["idle_timeout_s"] == 60
    assert "there is Catalina/one" in run("--cluster", "Other", server, status=1)


def test_a_file_that_is_not_there_and_one_given_twice(tmp_path: Path) -> None:
    assert "cannot be read" in run(tmp_path / "none.xml", status=1)
    bare = FILES / "bare.xml"
    assert "both a server.xml" in run(bare, bare, status=1)
