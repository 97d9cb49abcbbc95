"""Tomcat's files as settings: what becomes of each attribute, and of files that are no such."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.settings.settings import Settings, setting_names
from clustersession.settings.sources import load_settings
from clustersession.tools.tomcat.importing import TABLE
from clustersession.tools.tomcat.rows import Fate, send_options
from tests.support import tomcat_page

FILES = Path(__file__).parent / "files"
HA = "org.apache.catalina.ha"


def run(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["import-tomcat", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def settings_in(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "imported.toml"
    path.write_text(text)
    return load_settings(config=path)


def imported(tmp_path: Path, inside: str, *more: Path, arguments: tuple[str, ...] = ()) -> Any:
    """The JSON for a cluster with this inside; its TOML is loaded and must say the same."""
    server = tmp_path / "server.xml"
    server.write_text(f'<Cluster className="{HA}.tcp.SimpleTcpCluster">{inside}</Cluster>')
    found = json.loads(run("--json", *arguments, server, *more))
    assert tomllib.loads(run(*arguments, server, *more)) == found["settings"]
    settings_in(run(*arguments, server, *more), tmp_path)
    return found


def fates(found: Any) -> dict[str, str]:
    return {line["what"]: line["fate"] for line in found["lines"]}


# ---- the reference configurations ---------------------------------------------------------------


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


def test_tomcats_names_in_a_settings_file_mean_what_the_import_says(tmp_path: Path) -> None:
    path = tmp_path / "tomcat.toml"
    path.write_text(
        'distributable = true\njvmRoute = "tomcat1"\naddress = "228.0.0.4"\n'
        'frequency = 500\ndropTime = 3000\nautoBind = 100\nport = 4000\n'
        'bind = "192.168.0.10"\nack = "one"\nevents = "everywhere"\n'
    )
    written = settings_in(run(FILES / "server.xml", FILES / "web.xml"), tmp_path)
    assert load_settings(config=path) == written


# ---- the table ----------------------------------------------------------------------------------


def test_every_row_of_the_table_says_something() -> None:
    for component, rows in TABLE.items():
        for attribute, row in rows.items():
            if row.fate is Fate.MAPPED:
                assert row.setting in setting_names(), (component, attribute)
            else:
                assert row.words, (component, attribute)


def test_the_page_is_made_from_the_table() -> None:
    assert tomcat_page.PAGE.read_text().partition(tomcat_page.MARK)[2].strip() \
        == tomcat_page.tables().strip()


@pytest.mark.parametrize(
    ("text", "ack"),
    [("8", "one"), ("6", "all"), ("2", "all"), ("10", "one"), ("0", "one"), ("0x6", "all"),
     ("use_ack,sync", "all"), ("async", "one")],
)
def test_send_options_are_numbers_or_names(text: str, ack: str) -> None:
    assert send_options(text) == ack


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


def test_without_multicast_and_members_there_is_something_to_decide(tmp_path: Path) -> None:
    cloud = '<Membership className="x.CloudMembershipService" membershipProviderClassName="dns"/>'
    found = imported(tmp_path, f"<Channel>{cloud}</Channel>")
    assert found["settings"]["multicast_address"] == ""
    assert fates(found)["neither multicast nor members"] == "to decide"
    server = tmp_path / "mute.xml"
    server.write_text(f'<Cluster className="{HA}.tcp.SimpleTcpCluster" channelStartOptions="3"/>')
    assert tomllib.loads(run(server))["multicast_address"] == ""


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


def test_comments_cannot_be_left_and_terminals_not_steered(tmp_path: Path) -> None:
    found = imported(tmp_path, '<Deployer tempDir="a&#10;route = 1&#x9b;2J"/>')
    assert "route" not in found["settings"]
    assert "\x9b" not in run(tmp_path / "server.xml")


# ---- choosing -----------------------------------------------------------------------------------


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


# ---- files that are no such ---------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE s [<!ENTITY l0 "ha">{LAUGHS}]><Server>&l9;</Server>',
    "external entity": '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><Server>&x;</Server>',
    "parameter entity": '<!DOCTYPE s [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><Server/>',
    "unknown entity": '<!DOCTYPE s SYSTEM "file:///etc/passwd"><Server a="&x;">&x;</Server>',
    "not closed": "<Server><Service>",
    "empty": "",
    "no XML": "CLUSTERSESSION_ROUTE=a",
    "too deep": "<Server>" + "<a>" * 1000,
    "too large": "<Server>" + " " * (5 * 2**20) + "</Server>",
    "too many": "<Server>" + "<a/>" * 60_000 + "</Server>",
    "encoding": '<?xml version="1.0" encoding="klingon"?><Server/>',
    "zero": "<Server>\0</Server>",
    "no cluster": "<Server><Service><Engine/></Service></Server>",
    "another file": "<html/>",
    "only web.xml": "<web-app/>",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bad_file_is_one_clear_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "server.xml"
    path.write_text(content)
    output = run(path, status=1)
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1
    assert len(output) < 400
    assert "root:" not in output


def test_a_file_that_is_not_there_and_one_given_twice(tmp_path: Path) -> None:
    assert "cannot be read" in run(tmp_path / "none.xml", status=1)
    bare = FILES / "bare.xml"
    assert "both a server.xml" in run(bare, bare, status=1)


def test_the_doctype_of_an_old_web_xml_is_passed_over(tmp_path: Path) -> None:
    web = tmp_path / "web.xml"
    web.write_text(
        '<!DOCTYPE web-app PUBLIC "-//Sun Microsystems, Inc.//DTD Web Application 2.3//EN" '
        '"http://java.sun.com/dtd/web-app_2_3.dtd"><web-app><distributable/></web-app>'
    )
    assert tomllib.loads(run(FILES / "bare.xml", web))["distributable"] is True
