"""A small shop on Flask whose sessions survive the death of a node.

    pip install "clustersession[flask]" gunicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 gunicorn -w 2 -b 127.0.0.1:8001 app:app
    CLUSTERSESSION_ROUTE=tomcat2 gunicorn -w 2 -b 127.0.0.1:8002 app:app

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET. gunicorn.conf.py beside this file lets a node join when gunicorn starts.

The one line is marked below; everything else about the cluster comes from the environment, so the
same code runs on every node and on a laptop. ``session`` is ``flask.session``, typed as what it is,
and used as ever.
"""

import os
import secrets
import time

from flask import Flask, abort, redirect, render_template_string, request
from werkzeug.wrappers import Response

from clustersession import Counter, MergingList
from clustersession.flask import ClusterSession, session

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")

app = Flask(__name__)
ClusterSession(app)  # the one line

PAGE = """<!doctype html><html lang="en"><title>The Clustered Tea Shop</title>
<style>body { font: 1.1em sans-serif; max-width: 38em; margin: 3em auto }
form { display: inline } small { color: #666 }</style>
<h1>The Clustered Tea Shop</h1>
<p>Welcome, {{ session.get("user") or "stranger" }}.
   This is visit number <b>{{ session["visits"] }}</b>.</p>
<p>Your cart: {{ session.get("cart", [])|join(", ") or "empty" }}</p>
<p>{% for item in goods %}
  <form method="post" action="/cart/{{ item }}"><button>Add {{ item }}</button></form>
{% endfor %}</p>
<p>{% if session.get("user") %}
  <form method="post" action="/logout"><button>Log out</button></form>
  <a href="/devices">Your devices</a>
{% else %}
  <form method="post" action="/login">
    <input name="user" placeholder="your name" maxlength="80" required><button>Log in</button>
  </form>
{% endif %}</p>
<p><small>Served by <b>{{ node }}</b>, process {{ pid }}, session {{ sid }}…</small></p>
"""


@app.get("/")
def page() -> str:
    session["visits"] = session.get("visits", Counter()) + 1
    sid = (session.sid or "")[:6]
    return render_template_string(PAGE, node=NODE, pid=os.getpid(), goods=GOODS, sid=sid)


@app.post("/cart/<item>")
def add_to_cart(item: str) -> Response:
    if item in GOODS:
        # Noticed, although changed in place, and merged with what another tab adds at this moment.
        session.setdefault("cart", MergingList()).append(item)
    return redirect("/", code=303)


@app.post("/login")
def log_in() -> Response:
    _log_in(request.form["user"][:80])
    return redirect("/", code=303)


@app.post("/logout")
def log_out() -> Response:
    session.invalidate()  # ended on every node, for good
    return redirect("/", code=303)


DEVICES = """<!doctype html><html lang="en"><title>Your devices</title>
<h1>Your devices</h1>
<table><tr><th>Device<th>First seen<th>Last seen<th></tr>
{% for view in views %}
<tr><td>{{ view.label or "A device" }}<td>{{ view.created.strftime("%Y-%m-%d %H:%M") }}
<td>{{ view.last_access.strftime("%Y-%m-%d %H:%M") }}<td>{% if view.current %}this one{% else %}
  <form method="post" action="/devices/end"><input type="hidden" name="csrf" value="{{ token }}">
  <input type="hidden" name="handle" value="{{ view.handle }}"><button>Log out</button></form>
{% endif %}</tr>
{% endfor %}</table>
<form method="post" action="/devices/end-others">
<input type="hidden" name="csrf" value="{{ token }}"><button>Log out all others</button></form>
<p><a href="/">Back</a></p>
"""


@app.get("/devices")
def devices() -> Response | str:
    if session.principal is None:
        return redirect("/", code=303)
    # A form of another site cannot know it. With Flask-WTF it is there already.
    token = session.setdefault("csrf", secrets.token_urlsafe(16))
    views = session.cluster.sessions_of(session.principal, current=session)
    return render_template_string(DEVICES, views=views, token=token)


@app.post("/devices/end")
def end_device() -> Response:
    # With the user, so that it can only be one of their own.
    session.cluster.end(request.form["handle"], _own_form())
    return redirect("/devices", code=303)


@app.post("/devices/end-others")
def end_other_devices() -> Response:
    session.cluster.end_all(_own_form(), except_current=session)
    return redirect("/devices", code=303)


def _own_form() -> str:
    """Return who sends a form of the page above; refuse any other form."""
    expected = session.get("csrf", "")
    given = request.form.get("csrf", "")
    if not expected or not secrets.compare_digest(given.encode(), expected.encode()):
        abort(403)
    if session.principal is None or len(request.form.get("handle", "0" * 32)) != 32:
        abort(400)
    return session.principal


# The same as JSON, for scripts.

@app.get("/api/whoami")
def who_am_i() -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid()}


@app.get("/api/session")
def api_show() -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid(), "data": dict(session)}


@app.get("/api/get")
def api_get() -> dict[str, object]:
    return {"node": NODE, "value": session.get(request.args["key"])}


@app.post("/api/set")
def api_set() -> dict[str, object]:
    content = request.get_json()
    session[content["key"]] = content["value"]
    return api_show()


@app.post("/api/append")
def api_append() -> dict[str, object]:
    content = request.get_json()
    session.setdefault(content["key"], []).append(content["value"])
    return api_show()


@app.post("/api/count")
def api_count() -> dict[str, object]:
    session["count"] = session.get("count", 0) + 1
    return {"node": NODE, "pid": os.getpid(), "count": session["count"]}


@app.post("/api/slow")
def api_slow() -> dict[str, object]:
    """Reads at once, writes after a while: what a slow request does to a faster one's logout."""
    content = request.get_json()
    session.get(content["key"])
    time.sleep(min(float(content["seconds"]), 30.0))
    session[content["key"]] = content["value"]
    return api_show()


@app.post("/api/login")
def api_login() -> dict[str, object]:
    _log_in(request.get_json()["user"])
    return api_show()


@app.post("/api/logout")
def api_logout() -> dict[str, object]:
    session.invalidate()
    return {"node": NODE, "pid": os.getpid()}


def _log_in(user: str) -> None:
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = user
    session.principal = user
    session.label = device_of(request.headers.get("User-Agent", ""))


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
