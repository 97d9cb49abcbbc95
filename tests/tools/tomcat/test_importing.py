"""Tomcat's files as settings: what becomes of each attribute, and of files that are no such."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from clustersession.settings.settings import Settings
from tests.tools.tomcat.conversion import FILES, HA, fates, imported, run, settings_in


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


def test_web_xml_and_context_xml_say_what_the_cookie_is(tmp_path: Path) -> None:
    web, context = tmp_path / "web.xml", tmp_path / "context.xml"
    web.write_text("""<web-app><distributable/><session-config>
        <session-timeout>20</session-timeout>
        <cookie-config><name>SHOP</name><http-only>true</http-only><secure>true</secure>
          <max-age>-1</max-age><comment>ours</comment>
          <attribute><attribute-name>SameSite</attribute-name>
            <attribute-value>Strict</attribute-value></attribute></cookie-config>
        <tracking-mode>COOKIE</tracking-mode><tracking-mode>URL</tracking-mode>
        </session-config></web-app>""")
    context.write_text("""<Context sessionCookieName="CART" sessionCookiePath="/cart">
        <Manager className="x.DeltaManager" maxInactiveInterval="60"
                 sessionAttributeNameFilter="user|cart.*"/>
        <CookieProcessor sameSiteCookies="lax"/></Context>""")
    found = imported(tmp_path, "", web, context)
    settings = found["settings"]
    assert settings["cookie_name"] == "CART"
    assert settings["cookie_path"] == "/cart"
    assert settings["cookie_samesite"] == "strict"
    assert settings["cookie_secure"] is True
    assert settings["cookie_max_age_s"] == 0
    assert settings["idle_timeout_s"] == 1200
    assert settings["url_parameter"] == "jsessionid"
    assert fates(found)["cookie name"[7:] + " SHOP"] == "not needed"
    (local,) = settings["local_attributes"]
    assert [bool(re.fullmatch(local, name)) for name in ("user", "cart_1", "users", "tmp")] \
        == [False, False, True, True]


def test_properties_are_left_and_named(tmp_path: Path) -> None:
    found = imported(
        tmp_path, '<Channel><Receiver port="${tribes.port}" address="auto"/></Channel>'
    )
    assert "port" not in found["settings"]
    assert fates(found)['Receiver port="${tribes.port}"'] == "to decide"
    assert "CLUSTERSESSION_PORT" in run(tmp_path / "server.xml")


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


def test_a_route_that_is_none_here_comes_with_one_that_is(tmp_path: Path) -> None:
    server = tmp_path / "engine.xml"
    server.write_text((FILES / "bare.xml").read_text().replace("tomcat1", "tomcat-1.a"))
    text = run(server)
    assert "route" not in tomllib.loads(text)
    assert "'tomcat_1'" in text


def test_unknown_attributes_and_elements_are_named_and_keys_are_not_shown(tmp_path: Path) -> None:
    found = imported(tmp_path, """<Channel><Receiver adress="10.0.0.1"/>
        <Interceptor className="a.EncryptInterceptor" encryptionKey="cafebabe"/>
        <Interceptor className="com.example.Own" speed="9"/></Channel><Strange/>""")
    assert "cafebabe" not in json.dumps(found)
    said = {line["what"]: line["words"] for line in found["lines"]}
    assert "misspelt" in said['Receiver adress="10.0.0.1"']
    assert "Own is no part" in said['Interceptor speed="9"']
    assert "<Strange>" in said
