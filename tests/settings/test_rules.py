"""Every value that cannot work is refused, all of them at once, without showing a secret."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from clustersession.core.errors import ConfigurationError
from clustersession.settings.rules import BOUNDS
from clustersession.settings.settings import (
    CHOICES,
    SETTING_TYPES,
    Settings,
    find_problems,
    setting_names,
)

DEFAULTS: dict[str, Any] = {name: getattr(Settings(), name) for name in setting_names()}


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_numbers_out_of_bounds_are_refused(name: str) -> None:
    low, high = BOUNDS[name]
    outside: list[float] = [low - 1, high + 1]
    if SETTING_TYPES[name] == "float":
        outside += [math.nan, math.inf, -math.inf]
    for value in outside:
        problems = find_problems({**DEFAULTS, name: value})
        assert name in [problem.setting for problem in problems], value


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_words_outside_the_choice_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is 'perhaps'; it must be one of"):
        Settings(**{name: "perhaps"})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"route": "web-1"}, r"route is 'web-1'.*for example 'web_1'"),
    ({"route": "a.b"}, "route"),
    ({"route": "x" * 33}, "route"),
    ({"cluster_name": ""}, "cluster_name"),
    ({"cluster_name": "two words"}, "cluster_name"),
    ({"secret": ("short",)}, "at least 16 characters; make one with python -c"),
    ({"state_dir": "here"}, "state_dir.*absolute"),
    ({"bind": "my-host"}, "bind.*IP address"),
    ({"bind": "fe80::1%eth0"}, "bind.*link-local.*fd00::/8"),
    ({"advertise": "my-host"}, "advertise.*IP address"),
    ({"advertise": "0.0.0.0"}, "advertise.*that peers can connect to"),
    ({"advertise": "228.0.0.4"}, "advertise.*that peers can connect to"),
    ({"advertise": "fe80::1"}, "advertise.*link-local"),
    ({"advertise": "10.0.0.1:0", "port_range": 1}, "advertise.*between 1 and 65535"),
    ({"advertise": "10.0.0.1:4000"}, "advertise.*port_range to 1, which is 100"),
    ({"advertise": "2001:db8::7:x"}, "advertise.*brackets"),
    ({"store": "valkey://h"}, r"store is \(hidden\); it takes the place of peers, so set distrib"),
    ({"store": "http://u:p4ss@h", "distributable": True}, r"store is \(hidden\); http:// names no"),
    ({"near_cache_bytes_max": 5}, "near_cache_bytes_max.*0 or at least 1048576"),
    ({"store": "valkey://h", "distributable": True, "map_bytes": 2**20,
      "near_cache_bytes_max": 2**21},
     "near_cache_bytes_max.*must not exceed map_bytes, which is 1048576"),
    ({"ready_path": "ready"}, "ready_path.*begin with /"),
    ({"ready_path": "/ready?deep"}, "ready_path"),
    ({"multicast_address": "10.0.0.1"}, "multicast_address.*224.0.0.0"),
    ({"multicast_address": "ff02::1"}, "multicast_address.*IPv4"),
    ({"seeds": ("host",)}, r"seeds.*'host' must have the form"),
    ({"seeds": ("host:0",)}, "seeds"),
    ({"seeds": ("host:70000",)}, "seeds"),
    ({"seeds": ("dns:4000",)}, "seeds"),
    ({"seeds": ("[::z]:4000",)}, "seeds"),
    ({"seeds": ("[fe80::1%eth0]:4000",)}, "seeds.*link-local"),
    ({"seeds": ("[fe80::1]:4000",)}, "seeds.*link-local"),
    ({"cookie_name": "a b"}, "cookie_name"),
    ({"cookie_name": ""}, "cookie_name"),
    ({"cookie_name": "x" * 61}, "cookie_name"),
    ({"cookie_name": "__Host-id"}, "cookie_name.*cookie_secure"),
    ({"cookie_name": "__Secure-id"}, "cookie_name.*cookie_secure"),
    ({"cookie_name": "__Host-id", "cookie_secure": True, "cookie_path": "/a"}, "cookie_path '/'"),
    ({"cookie_name": "__Host-id", "cookie_secure": True, "cookie_domain": "a.b"}, "cookie_domain"),
    ({"cookie_samesite": "none"}, "cookie_samesite.*cookie_secure to true"),
    ({"cookie_partitioned": True}, "cookie_partitioned.*cookie_secure to true"),
    ({"cookie_path": "app"}, "cookie_path"),
    ({"cookie_path": "/a;b"}, "cookie_path"),
    ({"cookie_domain": "a b"}, "cookie_domain"),
    ({"header_name": "X Session"}, "header_name"),
    ({"drop_time_s": 0.9}, "drop_time_s is 0.9.*at least twice heartbeat_interval_s, which is 0.5"),
    ({"absolute_timeout_s": 60.0}, "absolute_timeout_s.*at least idle_timeout_s"),
    ({"port": 65500}, "port_range"),
    ({"attribute_bytes_max": 2**20, "session_bytes_max": 2**19}, "attribute_bytes_max"),
    ({"carrier": "multicast", "multicast_address": ""}, "carrier"),
    ({"distributable": 1}, "distributable is 1; it must be true or false"),
    ({"port": True}, "port is True; it must be a number"),
    ({"port": 4000.0}, "port is 4000.0; it must be a whole number"),
    ({"secret": "x" * 20}, "secret.*list"),
    ({"route": None}, "route is None; it must be a text"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Settings(**values)


ACCEPTED: list[dict[str, Any]] = [
    {"cookie_name": "session"},
    {"cookie_name": "__Host-id", "cookie_secure": True},
    {"cookie_samesite": "none", "cookie_secure": True},
    {"multicast_address": ""},
    {"seeds": ("a.example:4000", "10.0.0.1:4000", "[fd00::1]:4000", "dns:web_1.local:4000")},
    {"distributable": False, "seeds": ("a:1",), "ack": "all"},
    {"absolute_timeout_s": 0.0, "idle_timeout_s": 0.0},
    {"port": 65535, "port_range": 1},
    {"secret": ("0123456789abcdef", "fedcba9876543210")},
    {"bind": "::1"},
    {"advertise": "192.0.2.7"},
    {"advertise": "2001:db8::7"},
    {"advertise": "192.0.2.7:14000", "port_range": 1},
    {"advertise": "[2001:db8::7]:14000", "port_range": 1},
    {"ready_path": "/"},
    {"ready_path": "/-/ready"},
]


@pytest.mark.parametrize("values", ACCEPTED, ids=str)
def test_accepted(values: dict[str, Any]) -> None:
    for name, value in values.items():
        assert getattr(Settings(**values), name) == value


def test_all_problems_come_at_once_and_no_secret_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(route="a.b", secret=("swordfish",), multicast_ttl=300)
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["multicast_ttl", "route", "secret"]
    assert "swordfish" not in str(caught.value)


# A crowded machine is slow at everything.
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({}, optional={
    name: st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
                    st.lists(st.text(max_size=9), max_size=2).map(tuple))
    for name in setting_names()
}))
def test_any_values_are_accepted_or_refused_and_nothing_else(values: dict[str, Any]) -> None:
    complete = {**DEFAULTS, **values}
    refused = {problem.setting for problem in find_problems(complete)}
    assert refused <= set(setting_names())
    if refused:
        with pytest.raises(ConfigurationError):
            Settings(**values)
    else:
        Settings(**values)
