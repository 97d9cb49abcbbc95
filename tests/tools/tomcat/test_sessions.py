"""What managers, contexts and web.xml become."""

import re
import tomllib
from pathlib import Path

from tests.tools.tomcat.conversion import FILES, fates, imported, run


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


def test_a_route_that_is_none_here_comes_with_one_that_is(tmp_path: Path) -> None:
    server = tmp_path / "engine.xml"
    server.write_text((FILES / "bare.xml").read_text().replace("tomcat1", "tomcat-1.a"))
    text = run(server)
    assert "route" not in tomllib.loads(text)
    assert "'tomcat_1'" in text
