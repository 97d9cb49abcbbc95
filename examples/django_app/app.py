"""A small shop on Django whose sessions, and those of its admin, survive the death of a node.

    pip install "clustersession[django]" gunicorn
    python app.py migrate
    python app.py createsuperuser
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 gunicorn -w 2 -b 127.0.0.1:8001 app:app
    CLUSTERSESSION_ROUTE=tomcat2 gunicorn -w 2 -b 127.0.0.1:8002 app:app

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same SECRET_KEY and
database. gunicorn.conf.py beside this file lets a node join when gunicorn starts. Everything else
about the cluster comes from the environment; ``request.session`` is used as ever. A whole Django
project in one file, to be short; in yours the marked lines go to settings.py.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

from clustersession import Counter, MergingList

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")

settings.configure(
    SESSION_ENGINE="clustersession.django",  # the one line
    SESSION_COOKIE_NAME="CLUSTERSESSION",  # the name in our balancer configurations
    SECRET_KEY=os.environ.get("SECRET_KEY", "for development only, the same on every node"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    STATIC_URL="static/",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE", Path(__file__).with_name("shop.sqlite3")),
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "clustersession.django",  # for manage.py check
    ],
    MIDDLEWARE=[
        "clustersession.django.ClusterSessionMiddleware",  # Django's SessionMiddleware works too
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.signals import user_logged_in  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

PAGE = """<!doctype html><html lang="en"><title>The Clustered Tea Shop</title>
<style>body { font: 1.1em sans-serif; max-width: 38em; margin: 3em auto }
form { display: inline } small { color: #666 }</style>
<h1>The Clustered Tea Shop</h1>
<p>Welcome, {{ session.user|default:"stranger" }}.
   This is visit number <b>{{ session.visits }}</b>.</p>
<p>Your cart: {{ session.cart|join:", "|default:"empty" }}</p>
<p>{% for item in goods %}
  <form method="post" action="/cart/{{ item }}">{% csrf_token %}
    <button>Add {{ item }}</button></form>
{% endfor %}</p>
<p>{% if session.user %}
  <form method="post" action="/logout">{% csrf_token %}<button>Log out</button></form>
  <a href="/devices">Your devices</a>
{% else %}
  <form method="post" action="/login">{% csrf_token %}
    <input name="user" placeholder="your name" maxlength="80" required><button>Log in</button>
  </form>
{% endif %} <a href="/admin/">Admin</a></p>
<p><small>Served by <b>{{ node }}</b>, process {{ pid }}, session {{ sid }}…</small></p>
"""


def page(request: HttpRequest) -> HttpResponse:
    session = request.session
    session["visits"] = session.get("visits", Counter()) + 1
    sid = (session.session_key or "")[:6]
    context = {
        "session": dict(session.items()), "node": NODE, "pid": os.getpid(), "goods": GOODS,
        "sid": sid,
    }
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def add_to_cart(request: HttpRequest, item: str) -> HttpResponse:
    if item in GOODS and request.method == "POST":
        # Noticed, although changed in place, and merged with what another tab adds at this moment.
        request.session.setdefault("cart", MergingList()).append(item)
    return redirect("/")


def log_in(request: HttpRequest) -> HttpResponse:
    _log_in(request, request.POST["user"][:80])
    return redirect("/")


def log_out(request: HttpRequest) -> HttpResponse:
    request.session.flush()  # ended on every node, for good
    return redirect("/")


DEVICES = """<!doctype html><html lang="en"><title>Your devices</title>
<h1>Your devices</h1>
<table><tr><th>Device<th>First seen<th>Last seen<th></tr>
{% for view in views %}
<tr><td>{{ view.label|default:"A device" }}<td>{{ view.created|date:"Y-m-d H:i" }}
<td>{{ view.last_access|date:"Y-m-d H:i" }}<td>{% if view.current %}this one{% else %}
  <form method="post" action="/devices/end">{% csrf_token %}
  <input type="hidden" name="handle" value="{{ view.handle }}"><button>Log out</button></form>
{% endif %}</tr>
{% endfor %}</table>
<form method="post" action="/devices/end-others">{% csrf_token %}
<button>Log out all others</button></form>
<p><a href="/">Back</a></p>
"""


def devices(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    if session.principal is None:
        return redirect("/")
    views = session.cluster.sessions_of(session.principal, current=session.clustered)
    return HttpResponse(engines["django"].from_string(DEVICES).render({"views": views}, request))


@require_POST
def end_device(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    handle = request.POST.get("handle", "")
    if session.principal is None or len(handle) != 32:
        return HttpResponseBadRequest("no such session")
    session.cluster.end(handle, session.principal)  # with the user: only one of their own
    return redirect("/devices")


@require_POST
def end_other_devices(request: HttpRequest) -> HttpResponse:
    session: Any = request.session
    if session.principal is None:
        return HttpResponseBadRequest("nobody is logged in")
    session.cluster.end_all(session.principal, except_current=session.clustered)
    return redirect("/devices")


# The same as JSON, for scripts.


def who_am_i(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"node": NODE, "pid": os.getpid()})


def api_show(request: HttpRequest) -> HttpResponse:
    data = dict(request.session.items())
    return JsonResponse({"node": NODE, "pid": os.getpid(), "data": data})


def api_get(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"node": NODE, "value": request.session.get(request.GET["key"])})


@csrf_exempt
def api_set(request: HttpRequest) -> HttpResponse:
    content = _content(request)
    request.session[content["key"]] = content["value"]
    return api_show(request)


@csrf_exempt
def api_append(request: HttpRequest) -> HttpResponse:
    content = _content(request)
    request.session.setdefault(content["key"], []).append(content["value"])
    return api_show(request)


@csrf_exempt
def api_count(request: HttpRequest) -> HttpResponse:
    count = request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"node": NODE, "pid": os.getpid(), "count": count})


@csrf_exempt
def api_slow(request: HttpRequest) -> HttpResponse:
    """Reads at once, writes after a while: what a slow request does to a faster one's logout."""
    content = _content(request)
    request.session.get(content["key"])
    time.sleep(min(float(content["seconds"]), 30.0))
    request.session[content["key"]] = content["value"]
    return api_show(request)


@csrf_exempt
def api_login(request: HttpRequest) -> HttpResponse:
    _log_in(request, _content(request)["user"])
    return api_show(request)


@csrf_exempt
def api_logout(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return JsonResponse({"node": NODE, "pid": os.getpid()})


def _content(request: HttpRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.body)
    return content


def _log_in(request: HttpRequest, user: str) -> None:
    # Whoever logs in with django.contrib.auth, as the admin does, need not care for any of this.
    session: Any = request.session
    session.cycle_key()  # so that an id planted before the login is worth nothing
    session["user"] = user
    session.principal = user
    note_device(request)


def note_device(request: HttpRequest, **_: object) -> None:
    session: Any = request.session
    session.label = device_of(request.headers.get("User-Agent", ""))


user_logged_in.connect(note_device)  # logins of django.contrib.auth, such as the admin's

# Which device a session is on, as far as its User-Agent tells. The first mark that is found counts:
# browsers name each other.
BROWSERS = {
    "Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows",
    "Mac OS": "macOS", "Linux": "Linux",
}


def device_of(user_agent: str) -> str:
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), "A browser")
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), "some system")
    return f"{browser} on {system}"


urlpatterns = [
    path("", page),
    path("cart/<item>", add_to_cart),
    path("login", log_in),
    path("logout", log_out),
    path("devices", devices),
    path("devices/end", end_device),
    path("devices/end-others", end_other_devices),
    path("admin/", admin.site.urls),
    path("api/whoami", who_am_i),
    path("api/session", api_show),
    path("api/get", api_get),
    path("api/set", api_set),
    path("api/append", api_append),
    path("api/count", api_count),
    path("api/slow", api_slow),
    path("api/login", api_login),
    path("api/logout", api_logout),
]

app = WSGIHandler()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
