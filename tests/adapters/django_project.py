"""A Django project without files: its two pages do what the running test says."""

import inspect
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from clustersession.session.events import Events

OURS = "clustersession.django.ClusterSessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
OTHERS = [
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

_DATABASE = "file:django_project?mode=memory&cache=shared"  # threads of async views see it too

settings.configure(
    SECRET_KEY="a key of the project",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _DATABASE}},
    INSTALLED_APPS=[
        "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.messages",
        "django.contrib.sessions", "clustersession.django",
    ],
    SESSION_ENGINE="clustersession.django",
    MIDDLEWARE=[DJANGOS, *OTHERS],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()

listeners = Events()
"""What CLUSTERSESSION = {"LISTENERS": ...} names in a test that listens."""

view: Callable[[HttpRequest], Any] | None = None
"""What the next request does. What it returns, if it is a response, is the answer."""


def page(request: HttpRequest) -> HttpResponseBase:
    assert view is not None
    answer = view(request)
    return answer if isinstance(answer, HttpResponseBase) else HttpResponse("ok")


async def async_page(request: HttpRequest) -> HttpResponseBase:
    assert view is not None
    answer = view(request)
    if inspect.isawaitable(answer):
        answer = await answer
    return answer if isinstance(answer, HttpResponseBase) else HttpResponse("ok")


urlpatterns = [path("", page), path("a", async_page)]
