"""Django's settings as ours; nothing is opened before it is needed."""

from typing import Any

import pytest
from django.test import Client, override_settings

import clustersession.django
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
