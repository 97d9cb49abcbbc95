"""Tomcat's files as settings: what becomes of each attribute, and of files that are no such."""

import re
from pathlib import Path

import pytest

from clustersession.settings.settings import Settings
from tests.tools.tomcat.conversion import FILES, run, settings_in


@pytest.mark.parametrize(
    ("server", "route", "address"),
    [("server.xml", "tomcat1", "192.168.0.10"), ("server2.xml", "tomcat2", "192.168.0.11")],
)
def test_the_full_configuration_is_imported_whole(
    server: str, route: str, address: str, tmp_path: Path
) -> None:
    text = run(FILES / server, FILES / "web.xml")
    assert settings_in(text, tmp_path) == Settings(
        distributable=True, route=route, bind=address, port=4000, port_range=100,
        multicast_address="228.0.0.4", multicast_port=45564, heartbeat_interval_s=0.5,
        drop_time_s=3.0, ack="one", events="everywhere", rewrite="failover",
    )
    # Every attribute in the file has its line, and nobody says that he does not know it.
    for attribute in re.findall(r'\b\w+="[^"]*"', (FILES / server).read_text().split("?>")[1]):
        if attribute.split("=")[0] not in ("port", "shutdown", "protocol", "appBase", "name"):
            assert attribute in text
    assert "documents no such" not in text
    assert "is no part of" not in text
