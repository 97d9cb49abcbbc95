"""What the Django projects of recipes have in common: settings, a database, views that look.

A recipe's app.py gives ``project`` what its library needs. ``python app.py`` makes the database,
with a superuser.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path

SESSION_MIDDLEWARE = os.environ.get(
    "SESSION_MIDDLEWARE", "clustersession.django.ClusterSessionMiddleware"
)
NAME, PASSWORD = "ann", "correct horse"


def project(urls: str, *, apps: Sequence[str], middleware: Sequence[str], **more: object) -> None:
    """Set Django up with a library's apps, its middleware (after the login's) and settings."""
    settings.configure(**{
        "SECRET_KEY": "the secret of the cluster is in the environment",
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "ROOT_URLCONF": urls,
        "SESSION_ENGINE": "clustersession.django",
        "SESSION_COOKIE_NAME": "CLUSTERSESSION",
        "STATIC_URL": "/static/",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "LOGIN_REDIRECT_URL": "/",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "INSTALLED_APPS": [
            "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.messages",
            "django.contrib.sessions", "django.contrib.staticfiles", "clustersession.django", *apps,
        ],
        "MIDDLEWARE": [
            SESSION_MIDDLEWARE,
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            *middleware,
        ],
        "DATABASES": {"default": _database()},
        "TEMPLATES": [_templates()],
        **more,
    })
    django.setup()


def prepare(name: str = NAME) -> None:
    """Make the tables, and a superuser who can log in."""
    from django.contrib.auth import get_user_model

    call_command("migrate", verbosity=0, run_syncdb=True)
    get_user_model().objects.create_superuser(name, f"{name}@example.com", PASSWORD)


def who(request: HttpRequest) -> JsonResponse:
    """Tell who is logged in, and what their session is."""
    session: Any = request.session
    user = request.user
    return JsonResponse({
        "user": user.get_username(),
        "id": None if user.pk is None else str(user.pk),
        "key": session.session_key,
        "principal": session.principal,
        "sessions": len(session.cluster.sessions_of(user.pk)) if user.pk else 0,
        "mark": session.get("mark"),
    })


def mark(request: HttpRequest) -> JsonResponse:
    """Begin a session before any login."""
    request.session["mark"] = request.GET["mark"]
    return JsonResponse({})


def form(request: HttpRequest) -> HttpResponse:
    """A form with nothing but its CSRF token."""
    return HttpResponse(f'<input name="csrfmiddlewaretoken" value="{get_token(request)}">')


urlpatterns = [path("", who), path("mark", mark), path("form", form)]


def _database() -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["RECIPE_DIRECTORY"]) / "database.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }


def _templates() -> dict[str, object]:
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }
