"""Django's settings as ours; nothing is opened before it is needed."""

from typing import Any

import pytest
from django.test import Client, override_settings

import clustersession.django
from clustersession.core.errors import ConfigurationError
from clustersession.django import SessionStore, configuration
from clustersession.django.apps import check_settings
from tests.adapters.django_project import OTHERS, OURS


def test_settings_come_from_django(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ACK", "all")
    with override_settings(
        CLUSTERSESSION={"ROUTE": "b", "dropTime": 5000}, SESSION_COOKIE_AGE=60,
        SECRET_KEY_FALLBACKS=["an older key"],
    ):
        found = configuration.read_settings()
    assert (found.route, found.drop_time_s, found.ack) == ("b", 5.0, "all")
    assert (found.idle_timeout_s, found.cookie_name) == (60.0, "sessionid")
    assert len(found.secret) == 2


def test_starting_and_importing_opens_nothing(state: Any) -> None:
    with override_settings(MIDDLEWARE=[OURS, *OTHERS]):
        check_settings()
        Client().handler.load_middleware()
        SessionStore("12345678")
        assert not list(state.iterdir())
        clustersession.django.start()
        assert list(state.iterdir())


def test_none_leaves_it_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "tomcat1")
    for given in ({"distributable": None, "ROUTE": None}, {"DISTRIBUTABLE": None}, None):
        with override_settings(CLUSTERSESSION=given):
            found = configuration.read_settings()
            assert (found.route, found.distributable) == ("tomcat1", False)
            with monkeypatch.context() as patch:
                patch.setenv("CLUSTERSESSION_DISTRIBUTABLE", "true")
                assert configuration.read_settings().distributable
    with override_settings(CLUSTERSESSION={"ROUTE": "b", "route": None}):
        assert configuration.read_settings().route == "b"


def test_what_is_none_is_still_implied() -> None:
    """A secret of None is that of SECRET_KEY, so an adapter outside may have another one."""
    with override_settings(CLUSTERSESSION={"secret": None}):
        configuration.close()
        assert "secret" in configuration.runtime().implied
        configuration.close()


def test_an_age_is_the_idle_timeout_and_an_impossible_one_has_an_error_in_its_name() -> None:
    with override_settings(SESSION_COOKIE_AGE=365 * 86_400):
        found = configuration.read_settings()
        assert found.idle_timeout_s == 365 * 86_400 <= found.effective_absolute_timeout_s
        assert found.effective_anonymous_absolute_timeout_s == 365 * 86_400
    with override_settings(SESSION_COOKIE_AGE=20 * 365 * 86_400), pytest.raises(
        ConfigurationError, match=r"SESSION_COOKIE_AGE\); it must be between"
    ):
        configuration.read_settings()
    with override_settings(CLUSTERSESSION={"absolute_timeout_s": 600}), pytest.raises(
        ConfigurationError, match=r"idle_timeout_s, which is .*SESSION_COOKIE_AGE\)"
    ):
        configuration.read_settings()
