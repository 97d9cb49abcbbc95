"""What a session costs a Django request, beside Django's own engines.

    python -m benchmarks django [--small]

All under Django's SessionMiddleware, which reads its engine once: so one process has them all.
"""

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path

from benchmarks.overhead import Client, act, measure, redis_server, result_of
from benchmarks.request_wsgi import WsgiClient
from benchmarks.result import Result, Target

ENGINES = {
    "ours": "clustersession.django",
    "signed_cookies": "django.contrib.sessions.backends.signed_cookies",
    "cached_db": "django.contrib.sessions.backends.cached_db",
    "Redis cache": "django.contrib.sessions.backends.cache",
}


def answer(request: HttpRequest, action: str) -> HttpResponse:
    """The one view."""
    return HttpResponse("ok" if action == "untouched" else act(action, request.session))


urlpatterns = [path("<str:action>", answer)]


def configure(directory: Path, redis_port: int) -> None:
    """Settings for all engines."""
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY=secrets.token_hex(), ROOT_URLCONF=__name__, USE_TZ=True,
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": directory / "db.sqlite3"}
        },
        CACHES={
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{redis_port}",
            }
        },
        CLUSTERSESSION={"state_dir": str(directory), "route": "bench"},
    )
    django.setup()
    call_command("migrate", verbosity=0)


def handler(engine: str | None) -> WSGIHandler:
    """The application with an engine, or without sessions."""
    middleware = ["django.contrib.sessions.middleware.SessionMiddleware"] if engine else []
    with override_settings(SESSION_ENGINE=engine or settings.SESSION_ENGINE, MIDDLEWARE=middleware):
        return WSGIHandler()


def run(small: bool) -> Result:
    """All in one process, with Redis beside it."""
    with ExitStack() as stack:
        # In memory where there is such a place: a disk's fsync would be all that cached_db shows.
        place = "/dev/shm" if Path("/dev/shm").is_dir() else None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory("", "bench-", place)))
        configure(directory, stack.enter_context(redis_server(directory)))
        clients: dict[str, Client] = {
            name: WsgiClient(handler(engine)) for name, engine in ENGINES.items()
        }
        found = measure(clients, WsgiClient(handler(None)), small)
    result = result_of("Django request path", found)
    read, write = found["3 keys", "read"], found["3 keys", "write"]
    ours_read, ours_write = read["ours"][0], write["ours"][0]
    result.targets = [
        Target("Django read, over signed_cookies", ours_read / read["signed_cookies"][0], 1.0),
        Target("Django write, over signed_cookies", ours_write / write["signed_cookies"][0], 1.0),
        Target("Django write, over the Redis cache", ours_write / write["Redis cache"][0], 0.1),
    ]
    return result
