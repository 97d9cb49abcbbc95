"""Defaults are Tomcat's, every setting has its bounds or its choice."""

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.settings.rules import BOUNDS, HIDDEN
from clustersession.settings.settings import CHOICES, SETTING_TYPES, Settings, setting_names


def test_defaults_are_tomcats_where_tomcat_has_them() -> None:
    settings = Settings()
    assert (settings.multicast_address, settings.multicast_port) == ("228.0.0.4", 45564)
    assert (settings.heartbeat_interval_s, settings.drop_time_s) == (0.5, 3.0)
    assert (settings.port, settings.port_range) == (4000, 100)
    assert not settings.distributable


def test_every_number_has_bounds_and_every_choice_is_a_setting() -> None:
    numbers = {name for name, kind in SETTING_TYPES.items() if kind in ("int", "float")}
    assert numbers == set(BOUNDS)
    assert set(CHOICES) <= set(setting_names())


def test_absolute_timeout_default_is_worked_out() -> None:
    week_s = 7 * 86_400
    assert Settings().effective_absolute_timeout_s == week_s
    assert Settings(idle_timeout_s=float(week_s)).effective_absolute_timeout_s == 4 * week_s
    assert Settings(absolute_timeout_s=7200.0).effective_absolute_timeout_s == 7200


def test_the_near_cache_is_never_larger_than_half_of_the_replica_unless_somebody_says_so() -> None:
    store = {"store": "valkey://h", "distributable": True}
    assert Settings(**store).effective_near_cache_bytes_max == 2**30
    assert Settings(**store, map_bytes=2**28).effective_near_cache_bytes_max == 2**27
    assert Settings(**store, near_cache_bytes_max=2**33).effective_near_cache_bytes_max == 2**33


def test_no_text_of_a_secret_shows_in_the_settings() -> None:
    texts = {name: f"the-{name}-of-this-cluster-1234567890" for name in HIDDEN}
    texts["store"] = "valkey://:the-password-of-the-store@127.0.0.1"
    given = {
        name: (text,) if SETTING_TYPES[name] == "tuple" else text for name, text in texts.items()
    }
    shown = repr(Settings(distributable=True, **given))  # type: ignore[arg-type]
    assert not [text for text in texts.values() if text in shown]
    assert "cluster_name=" in shown


def test_durability_is_the_stores_where_there_is_one() -> None:
    assert Settings().effective_durability == "second"
    assert Settings(durability="end").effective_durability == "end"
    beside = Settings(distributable=True, store="valkey://h", durability="none")
    assert beside.effective_durability == "none"
    assert Settings(distributable=True, store="valkey://h").effective_durability == "none"
    with pytest.raises(ConfigurationError, match="the store is what lasts"):
        Settings(distributable=True, store="valkey://h", durability="second")
