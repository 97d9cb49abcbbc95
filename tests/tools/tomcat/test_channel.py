"""What Tomcat's cluster and channel become."""

import json
from pathlib import Path

import pytest

from tests.tools.tomcat.conversion import HA, fates, imported


def test_members_become_seeds(tmp_path: Path) -> None:
    found = imported(tmp_path, f"""
        <Channel><Membership className="x.StaticMembershipService" expirationTime="5000">
          <LocalMember port="4000" host="10.0.0.1"/>
          <Member className="x.StaticMember" port="4000" host="{{10,0,0,2}}" uniqueId="{{1,2}}"/>
          <Member port="4001" host="tomcat3.example" domain="shop"/>
        </Membership></Channel><Valve className="{HA}.session.JvmRouteBinderValve"/>""")
    assert found["settings"]["seeds"] == ["10.0.0.2:4000", "tomcat3.example:4001"]
    assert found["settings"]["multicast_address"] == ""
    assert found["settings"]["drop_time_s"] == 5.0
    assert found["settings"]["cluster_name"] == "shop"


@pytest.mark.parametrize(
    ("inside", "what", "gone"),
    [
        ('<Membership frequency="5000"/>', 'Membership frequency="5000"', "heartbeat_interval_s"),
        ('<Membership frequency="soon"/>', 'Membership frequency="soon"', "heartbeat_interval_s"),
        ('<Receiver port="70000"/>', 'Receiver port="70000"', "port"),
        ('<Receiver port="65500"/>', 'Receiver port="65500"', "port"),
        ('<Membership domain="a b"/>', 'Membership domain="a b"', "cluster_name"),
    ],
)
def test_what_cannot_work_here_is_left_to_decide(
    inside: str, what: str, gone: str, tmp_path: Path
) -> None:
    found = imported(tmp_path, f"<Channel>{inside}</Channel>")
    assert fates(found)[what] == "to decide"
    assert gone not in found["settings"]


def test_unknown_attributes_and_elements_are_named_and_keys_are_not_shown(tmp_path: Path) -> None:
    found = imported(tmp_path, """<Channel><Receiver adress="10.0.0.1"/>
        <Interceptor className="a.EncryptInterceptor" encryptionKey="cafebabe"/>
        <Interceptor className="com.example.Own" speed="9"/></Channel><Strange/>""")
    assert "cafebabe" not in json.dumps(found)
    said = {line["what"]: line["words"] for line in found["lines"]}
    assert "misspelt" in said['Receiver adress="10.0.0.1"']
    assert "Own is no part" in said['Interceptor speed="9"']
    assert "<Strange>" in said
