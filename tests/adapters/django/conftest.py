"""A Django project under both middlewares, with users."""

import warnings
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.core import management
from django.test import override_settings

from clustersession.django import configuration
from tests.adapters.django.views import User
from tests.adapters.django_project import DJANGOS, OTHERS, OURS


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    configuration.close()
    yield
    configuration.close()


@pytest.fixture(params=[DJANGOS, OURS], ids=["engine", "middleware"])
def middleware(request: pytest.FixtureRequest) -> Iterator[str]:
    with override_settings(MIDDLEWARE=[request.param, *OTHERS]):
        yield request.param


@pytest.fixture(scope="session")
def database() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        management.call_command("migrate", verbosity=0)


@pytest.fixture
def user(database: None) -> User:
    users = get_user_model().objects
    users.all().delete()
    return users.create_user("ann", password="secret")
