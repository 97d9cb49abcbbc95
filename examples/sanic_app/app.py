"""A small shop on Sanic whose sessions survive the death of a node.

    pip install "clustersession[sanic]"
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 sanic app:app --port 8001 --workers 2
    CLUSTERSESSION_ROUTE=tomcat2 sanic app:app --port 8002 --workers 2

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET. A node joins when its server starts, in each worker.

The one line is marked below; everything else about the cluster comes from the environment, so the
same code runs on every node and on a laptop.
"""

import asyncio
import os
from html import escape
from typing import Any

from sanic import HTTPResponse, Request, Sanic, html, json
from sanic.response import redirect

from clustersession.sanic import ClusterSession, session_of

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")
AnyRequest = Request[Any, Any]

app = Sanic("shop")
ClusterSession(app)  # the one line

PAGE = """<!doctype html><html lang="en"><title>The Clustered Tea Shop</title>
<style>body {{ font: 1.1em sans-serif; max-width: 38em; margin: 3em auto }}
form {{ display: inline }} small {{ color: #666 }}</style>
<h1>The Clustered Tea Shop</h1>
<p>Welcome, {user}. This is visit number <b>{visits}</b>.</p>
<p>Your cart: {cart}</p>
<p>{buttons}</p>
<p>{door}</p>
<p><small>Served by <b>{node}</b>, process {pid}, session {sid}…</small></p>
"""


def button(action: str, label: str, field: str = "") -> str:
    return f'<form method="post" action="{action}">{field}<button>{label}</button></form>'


@app.get("/")
async def page(request: AnyRequest) -> HTTPResponse:
    session = session_of(request)  # request.ctx.session, typed
    session["visits"] = session.get("visits", 0) + 1
    user = session.get("user")
    name_field = '<input name="user" placeholder="your name" required>'
    return html(PAGE.format(
        user=escape(str(user or "stranger")),
        visits=session["visits"],
        cart=escape(", ".join(map(str, session.get("cart", [])))) or "empty",
        buttons=" ".join(button(f"/cart/{item}", f"Add {item}") for item in GOODS),
        door=button("/logout", "Log out") if user else button("/login", "Log in", name_field),
        node=escape(NODE), pid=os.getpid(), sid=(session.sid or "")[:6],
    ))


@app.post("/cart/<item:str>")
async def add_to_cart(request: AnyRequest, item: str) -> HTTPResponse:
    if item in GOODS:
        # Noticed, although changed in place.
        request.ctx.session.setdefault("cart", []).append(item)
    return redirect("/", status=303)


@app.post("/login")
async def log_in(request: AnyRequest) -> HTTPResponse:
    form = request.form
    _log_in(request, str(form.get("user") if form else "nobody")[:80])
    return redirect("/", status=303)


@app.post("/logout")
async def log_out(request: AnyRequest) -> HTTPResponse:
    request.ctx.session.invalidate()  # ended on every node, for good
    return redirect("/", status=303)


# The same as JSON, for scripts.


def answer(**more: object) -> HTTPResponse:
    return json({"node": NODE, "pid": os.getpid(), **more})


@app.get("/api/whoami")
async def who_am_i(request: AnyRequest) -> HTTPResponse:
    return answer()


def shown(request: AnyRequest) -> HTTPResponse:
    return answer(data=dict(request.ctx.session))


@app.get("/api/session")
async def api_show(request: AnyRequest) -> HTTPResponse:
    return shown(request)


@app.get("/api/get")
async def api_get(request: AnyRequest) -> HTTPResponse:
    return json({"node": NODE, "value": request.ctx.session.get(request.args.get("key"))})


@app.post("/api/set")
async def api_set(request: AnyRequest) -> HTTPResponse:
    request.ctx.session[request.json["key"]] = request.json["value"]
    return shown(request)


@app.post("/api/append")
async def api_append(request: AnyRequest) -> HTTPResponse:
    request.ctx.session.setdefault(request.json["key"], []).append(request.json["value"])
    return shown(request)


@app.post("/api/count")
async def api_count(request: AnyRequest) -> HTTPResponse:
    request.ctx.session["count"] = request.ctx.session.get("count", 0) + 1
    return answer(count=request.ctx.session["count"])


@app.post("/api/slow")
async def api_slow(request: AnyRequest) -> HTTPResponse:
    """Reads at once, writes after a while: what a slow request does to a faster one's logout."""
    request.ctx.session.get(request.json["key"])
    await asyncio.sleep(min(float(request.json["seconds"]), 30.0))
    request.ctx.session[request.json["key"]] = request.json["value"]
    return shown(request)


@app.post("/api/login")
async def api_login(request: AnyRequest) -> HTTPResponse:
    _log_in(request, request.json["user"])
    return shown(request)


@app.post("/api/logout")
async def api_logout(request: AnyRequest) -> HTTPResponse:
    request.ctx.session.invalidate()
    return answer()


def _log_in(request: AnyRequest, user: str) -> None:
    session = session_of(request)
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = session.principal = user
