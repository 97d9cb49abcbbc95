"""Three sources, their precedence, their conversions, and names that are refused."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.settings.framework import derive_secret
from clustersession.settings.settings import Settings
from clustersession.settings.sources import (
    Said,
    check_sources,
    load_settings,
    load_with_implied,
    require_secret,
)

SECRET = "qT8w-Lz3Rk5_vN0xYb7d"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("CLUSTERSESSION_"):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "cluster.toml"
        path.write_text(text)
        return str(path)

    return write


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings() == Settings()


def test_precedence(monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]) -> None:
    path = toml('route = "file"\ncluster_name = "file"\nport = 4100\ncookie_path = "/file"')
    monkeypatch.setenv("CLUSTERSESSION_CONFIG", path)
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "environment")
    monkeypatch.setenv("CLUSTERSESSION_CLUSTER_NAME", "environment")
    framework = {"cookie_path": "/framework", "cookie_domain": "framework.example"}
    settings = load_settings(framework, route="keyword")
    assert settings.route == "keyword"
    assert settings.cluster_name == "environment"
    assert settings.port == 4100
    assert settings.cookie_path == "/file"
    assert settings.cookie_domain == "framework.example"


def test_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "environment")
    settings = load_settings(
        {"cookie_path": None}, route=None, distributable=None, jvmRoute=None, config=None
    )
    assert settings == Settings(route="environment")
    check_sources(ack=None)
    with pytest.raises(ConfigurationError, match="did you mean distributable"):
        load_settings(distributible=None)


def test_what_is_as_the_framework_says_is_told() -> None:
    framework = {"cookie_path": "/a", "idle_timeout_s": Said("max_age", 60), "route": None}
    settings, implied = load_with_implied(framework, {"cookie_path": "/b"})
    assert (settings.cookie_path, settings.idle_timeout_s) == ("/b", 60)
    assert implied == {"idle_timeout_s"}


def test_an_alias_in_one_source_gives_way_to_the_name_in_a_higher_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_JVMROUTE", "low")
    assert load_settings().route == "low"
    assert load_settings(route="high").route == "high"


def test_keyword_config_replaces_the_variable(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_CONFIG", "/nowhere/at/all.toml")
    assert load_settings(config=toml('route = "a"')).route == "a"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("distributable", "Yes", True), ("distributable", "off", False), ("port", "4001", 4001),
        ("drop_time_s", "1.5", 1.5), ("seeds", "a:1, b:2,", ("a:1", "b:2")), ("seeds", "", ()),
        ("secret", f"{SECRET},{SECRET}1", (SECRET, SECRET + "1")),
        ("cookie_samesite", "Lax", "lax"), ("multicast_address", "", ""), ("ack", "ALL", "all"),
    ],
)
def test_environment_conversions(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"CLUSTERSESSION_{name.upper()}", text)
    converted = getattr(load_settings(), name)
    assert converted == value
    assert type(converted) is type(value)


def test_file_conversions(toml: Callable[[str], str]) -> None:
    path = toml(f'distributable = true\nidle_timeout_s = 60\nseeds = ["a:1"]\nsecret = "{SECRET}"')
    settings = load_settings(config=path)
    assert settings.distributable
    assert settings.idle_timeout_s == 60.0
    assert settings.seeds == ("a:1",)
    assert settings.secret == (SECRET,)


def test_keyword_conversions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(
        idle_timeout_s=timedelta(minutes=2), cookie_max_age_s=timedelta(hours=1),
        secret=[SECRET], state_dir=tmp_path,
    )
    assert settings.idle_timeout_s == 120.0
    assert settings.cookie_max_age_s == 3600
    assert settings.secret == (SECRET,)
    assert settings.state_dir == str(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_settings(state_dir="~/state").state_dir == "/home/somebody/state"


@pytest.mark.parametrize("spelling", ["dropTime", "drop_time"])
def test_tomcats_names_in_every_source(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str], spelling: str
) -> None:
    assert load_settings(**{spelling: 2500}).drop_time_s == 2.5
    assert load_settings(config=toml(f"{spelling} = 2500")).drop_time_s == 2.5
    monkeypatch.setenv(f"CLUSTERSESSION_{spelling.upper()}", "2500")
    assert load_settings().drop_time_s == 2.5


def test_every_tomcat_name() -> None:
    settings = load_settings(
        address="228.0.0.5", frequency=250, dropTime=1000, ttl=3, domain="shop", autoBind=10,
        jvmRoute="tomcat1", port=4200,
    )
    assert settings == Settings(
        multicast_address="228.0.0.5", heartbeat_interval_s=0.25, drop_time_s=1.0, multicast_ttl=3,
        cluster_name="shop", port_range=10, route="tomcat1", port=4200,
    )


def refusal(**keyword_arguments: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**keyword_arguments)
    return str(caught.value)


def test_misspelt_names_are_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_HEARTBEAT", "1")
    path = toml("idle_timeout = 3")
    assert refusal(rout="a", config=path).splitlines() == [
        f"{path}, key idle_timeout is not a setting; did you mean idle_timeout_s?",
        "environment variable CLUSTERSESSION_HEARTBEAT is not a setting; "
        "did you mean CLUSTERSESSION_HEARTBEAT_INTERVAL_S?",
        "keyword argument rout is not a setting; did you mean route?",
    ]


def test_a_table_in_the_file_is_refused(toml: Callable[[str], str]) -> None:
    path = toml('[clustersession]\nroute = "tomcat1"')
    assert refusal(config=path) == (
        f"{path} has a table [clustersession]; settings stand at the top level of the file"
    )


def test_a_name_like_none_of_ours_gets_no_suggestion() -> None:
    assert refusal(zzzzzz=1) == "keyword argument zzzzzz is not a setting"


def test_one_setting_under_two_names_is_refused() -> None:
    assert refusal(route="a", jvmRoute="a") == (
        "route is given twice: keyword argument route and keyword argument jvmRoute; "
        "keep one of them"
    )


def test_problems_name_value_and_source(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_PORT", "many")
    path = toml("multicast_ttl = 256")
    lines = refusal(config=path, drop_time_s=0.6, distributable="maybe").splitlines()
    assert lines == [
        "port is 'many' (environment variable CLUSTERSESSION_PORT); it must be a number",
        "distributable is 'maybe' (keyword argument distributable); it must be one of 1, true, "
        "yes, on, 0, false, no, off",
        f"multicast_ttl is 256 ({path}, key multicast_ttl); it must be between 0 and 255",
    ]


def test_a_relation_names_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_DROPTIME", "600")
    assert refusal().startswith("drop_time_s is 0.6 (environment variable CLUSTERSESSION_DROPTIME)")


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_SECRET", "swordfish")
    message = refusal()
    assert "swordfish" not in message
    assert "CLUSTERSESSION_SECRET" in message
    assert "sword" not in refusal(secret=[b"swordfish"])


@pytest.mark.parametrize("text", ["route = ", "\x00", "route = 5"])
def test_bad_files(toml: Callable[[str], str], text: str) -> None:
    path = toml(text)
    assert path in refusal(config=path)


def test_missing_file_and_wrong_kind_of_path() -> None:
    assert "cannot be read" in refusal(config="/nowhere/at/all.toml")
    assert "config is 3" in refusal(config=3)


@pytest.mark.parametrize("service", [
    "CLUSTERSESSION", "CLUSTERSESSION_DEMO", "CLUSTERSESSION_METRICS", "CLUSTERSESSION_A_B_2",
])
def test_kubernetes_service_variables_are_ignored(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "80", "SERVICE_PORT_HTTP": "80",
        "PORT": "tcp://10.0.0.1:80", "PORT_80_TCP": "tcp://10.0.0.1:80", "PORT_80_TCP_ADDR": "a",
        "PORT_80_TCP_PROTO": "tcp", "PORT_80_TCP_PORT": "80", "PORT_53_UDP": "udp://10.0.0.1:53",
        "PORT_9_SCTP": "sctp://10.0.0.1:9",
    }.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    assert load_settings() == Settings()


def test_a_setting_beside_a_service_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_METRICS_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CLUSTERSESSION_METRICS_SERVICE_PORT", "80")
    monkeypatch.setenv("CLUSTERSESSION_METRICS_PORT", "9100")
    assert load_settings().metrics_port == 9100


@pytest.mark.parametrize("name", [
    "CLUSTERSESSION_DEMO_SERVICE_HOST", "CLUSTERSESSION_DEMO_PORT_80_TCP", "CLUSTERSESSION_ROUT",
])
def test_what_is_no_whole_group_is_a_wrong_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "10.0.0.1")
    assert name in refusal()


def test_secret_is_required_beyond_loopback() -> None:
    require_secret(Settings(), "10.0.0.1")
    require_secret(Settings(distributable=True), "127.0.0.2")
    require_secret(Settings(distributable=True), "::1")
    require_secret(Settings(distributable=True, secret=(SECRET,)), "10.0.0.1")
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.1 without a secret.*_SECRET"):
        require_secret(Settings(distributable=True), "10.0.0.1")


def test_a_secret_that_can_be_guessed_is_refused_beyond_loopback() -> None:
    for weak in ("k" * 32, derive_secret("dev")):
        # One among several is enough: all of them are accepted.
        settings = Settings(distributable=True, secret=(SECRET, weak))
        require_secret(settings, "127.0.0.1")
        require_secret(Settings(secret=(weak,)), "10.0.0.1")
        with pytest.raises(ConfigurationError, match=r"10\.0\.0\.1.*guessed.*token_urls") as told:
            require_secret(settings, "10.0.0.1")
        assert weak not in str(told.value)
        assert "CLUSTERSESSION_BIND to 127.0.0.1" in str(told.value)


def test_what_no_later_configuration_could_mend_is_refused_early(
    monkeypatch: pytest.MonkeyPatch, toml: Callable[[str], str]
) -> None:
    monkeypatch.setenv("CLUSTERSESSION_COOKY_NAME", "x")
    with pytest.raises(ConfigurationError) as refused:
        check_sources(config=toml('ack = "two"\nport = "four"\nmulticast_ttl = 300'))
    said = str(refused.value)
    for part in ("COOKY_NAME is not a setting", "ack is 'two'", "port is 'four'", "multicast_ttl"):
        assert part in said
    monkeypatch.delenv("CLUSTERSESSION_COOKY_NAME")
    # Whether the cookie is secure may be said by the framework later.
    check_sources(cookie_samesite="none")
    with pytest.raises(ConfigurationError, match="cookie_samesite"):
        load_settings(cookie_samesite="none")
