"""pytest plugin: Django's own checks of a session store, and of its SessionMiddleware, with ours.

Django's module has a mixin for stores and a class for each store of its own; ours is added to
them. The tests of the middleware run twice, with Django's middleware over our store and with ours.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings

MODULE = "sessions_tests.tests"


def pytest_configure(config: pytest.Config) -> None:
    """Set up a project that knows no other store, and add our classes to Django's module."""
    settings.configure(
        SECRET_KEY="a key of the project",
        SESSION_ENGINE="clustersession.django",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.sessions", "sessions_tests"],
        USE_TZ=False,
    )
    sys.path.insert(0, str(Path.cwd() / "tests"))
    django.setup()
    from django.core.management import call_command
    from django.test import SimpleTestCase
    from sessions_tests import tests

    from clustersession.django import SessionStore

    call_command("migrate", verbosity=0, run_syncdb=True)
    # The store that the tests of the middleware take.
    tests.DatabaseSession = SessionStore

    class OurSessionTests(tests.SessionTestsMixin, SimpleTestCase):  # type: ignore[misc]
        backend = SessionStore

    class OurMiddlewareTests(tests.SessionMiddlewareTests):  # type: ignore[misc]
        pass

    for added in (OurSessionTests, OurMiddlewareTests):
        added.__module__ = MODULE
        added.__qualname__ = added.__name__
        setattr(tests, added.__name__, added)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Our middleware, for the tests that are ours."""
    from sessions_tests import tests

    from clustersession.django import ClusterSessionMiddleware

    djangos = tests.SessionMiddleware
    if "OurMiddlewareTests" in item.nodeid:
        tests.SessionMiddleware = ClusterSessionMiddleware
    try:
        return (yield)
    finally:
        tests.SessionMiddleware = djangos
