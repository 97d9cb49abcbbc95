"""A Django project on Redis by Django's own RedisCache, with the sessions that are asked for.

The database of ``cached_db`` is a file of SQLite in BENCH_DIRECTORY, which all processes share.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.overhead import act
from benchmarks.store_pairs import is_pair, write_slowly

ENGINES = {
    "ours": "clustersession.django",
    "Django cache": "django.contrib.sessions.backends.cache",
    "Django cached_db": "django.contrib.sessions.backends.cached_db",
}
DATABASE = Path(os.environ.get("BENCH_DIRECTORY", ".")) / "db.sqlite3"


def answer(request: HttpRequest, action: str) -> HttpResponse:
    """The one view."""
    if action == "untouched":
        return HttpResponse("ok")
    if is_pair(action):
        write_slowly(action, request.session)
        return HttpResponse("ok")
    return HttpResponse(act(action, request.session))


urlpatterns = [path("<str:action>", answer)]


def make(kind: str, secret: str, redis_port: int) -> WSGIHandler:
    """The application; without sessions for a kind that is none."""
    sessions: dict[str, Any] = {}
    if kind in ENGINES:
        sessions = {
            "SESSION_ENGINE": ENGINES[kind],
            "MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"],
        }
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY=secret, ROOT_URLCONF=__name__, USE_TZ=True,
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE,
                "OPTIONS": {"timeout": 20}, "CONN_MAX_AGE": None,
            }
        },
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{redis_port}",
            }
        },
        **sessions,
    )  # fmt: skip
    django.setup()
    return WSGIHandler()


def prepare() -> None:
    """Make the database, once for all processes."""
    with sqlite3.connect(DATABASE) as database:
        database.execute("PRAGMA journal_mode = WAL")
    make("Django cached_db", "none", 0)
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    prepare()
