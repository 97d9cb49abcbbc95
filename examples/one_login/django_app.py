"""The Django part of one site, with Django's own users; see flask_app.py beside this file."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

settings.configure(
    SESSION_ENGINE="clustersession.django",
    # The same as in clustersession.toml.
    SESSION_COOKIE_NAME="CLUSTERSESSION",
    SESSION_COOKIE_AGE=1800,
    # As in the other two: the cookie lasts until the browser closes, and who only reads stays.
    SESSION_EXPIRE_AT_BROWSER_CLOSE=True,
    SESSION_SAVE_EVERY_REQUEST=True,
    SECRET_KEY=os.environ.get("SECRET_KEY", "for development only"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE", Path(__file__).with_name("site.sqlite3")),
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "clustersession.django",
    ],
    MIDDLEWARE=[
        "clustersession.django.ClusterSessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        f"{__name__}.one_login",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

from django.contrib.auth import authenticate, get_user_model, login, logout  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402


def one_login(get_response: Callable[[Any], HttpResponse]) -> Callable[[Any], HttpResponse]:
    """Give views whoever has logged in anywhere on the site as ``request.user``."""

    def middleware(request: Any) -> HttpResponse:
        principal = request.session.principal
        if principal and principal.isdecimal() and not request.user.is_authenticated:
            user = get_user_model().objects.filter(pk=principal, is_active=True).first()
            request.user = user or request.user
        return get_response(request)

    return middleware


PAGE = """<!doctype html><html lang="en"><title>Django</title>
<p>Django knows user {{ user.pk }}, {{ user.get_username|default:"nobody" }}.</p>
<p>The session holds: {{ names|join:", " }}.</p>
<form method="post" action="/django/login">{% csrf_token %}
<input name="user"><input name="password" type="password"><button>Log in</button></form>
<form method="post" action="/django/logout">{% csrf_token %}<button>Log out</button></form>
"""


def page(request: Any) -> HttpResponse:
    session = request.session
    session["django_visits"] = session.get("django_visits", 0) + 1
    context = {"user": request.user, "names": sorted(session.keys())}
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


@require_POST
def log_in(request: Any) -> HttpResponse:
    fields = request.POST
    user = authenticate(request, username=fields["user"], password=fields["password"])
    if user is None:
        return HttpResponse("no such user, or another password", status=403)
    if request.session.principal not in (None, str(user.pk)):
        request.session.flush()  # Django does so for users of its own; here for those of the others
    login(request, user)
    return redirect("/django/")


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("/django/")


urlpatterns = [
    path("django/", page), path("django/login", log_in), path("django/logout", log_out),
]

app = WSGIHandler()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
