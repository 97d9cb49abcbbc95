"""A small shop on Bottle whose sessions survive the death of a node.

    pip install "clustersession[bottle]" gunicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 gunicorn -w 2 -b 127.0.0.1:8001 app:app
    CLUSTERSESSION_ROUTE=tomcat2 gunicorn -w 2 -b 127.0.0.1:8002 app:app

These are two nodes on one machine; on hosts of their own leave BIND away and give all of them the
same CLUSTERSESSION_SECRET. gunicorn.conf.py beside this file lets a node join when gunicorn starts.

The application was written for Beaker: it finds its session in ``environ["beaker.session"]``, and
says ``save()`` where it has changed something. Beaker itself is not needed. The one line is the
last.
"""

import os
from typing import Any

from bottle import Bottle, redirect, request

from clustersession.beaker import BeakerSession, SessionMiddleware

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")
TIMES = ("_creation_time", "_accessed_time")

shop = Bottle()


def session_of_request() -> BeakerSession:
    session: BeakerSession = request.environ["beaker.session"]
    return session


def shown() -> dict[str, object]:
    data = {name: value for name, value in session_of_request().items() if name not in TIMES}
    return {"node": NODE, "pid": os.getpid(), "data": data}


@shop.get("/")
def page() -> str:
    session = session_of_request()
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    cart = ", ".join(session.get("cart", [])) or "empty"
    return f"Visit number {session['visits']}, your cart: {cart}. Served by {NODE}.\n"


@shop.post("/cart/<item>")
def add_to_cart(item: str) -> None:
    session = session_of_request()
    if item in GOODS:
        session.setdefault("cart", []).append(item)
        session.save()
    redirect("/", 303)


@shop.get("/api/whoami")
def who_am_i() -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid()}


@shop.get("/api/session")
def api_show() -> dict[str, object]:
    return shown()


@shop.post("/api/append")
def api_append() -> dict[str, object]:
    content: dict[str, Any] = request.json
    session = session_of_request()
    session.setdefault(content["key"], []).append(content["value"])
    session.save()
    return shown()


@shop.post("/api/login")
def api_login() -> dict[str, object]:
    session = session_of_request()
    session.regenerate_id()  # a new id at login, so that an id planted before it is worth nothing
    session.principal = session["user"] = request.json["user"]
    session.save()
    return shown()


@shop.post("/api/logout")
def api_logout() -> dict[str, object]:
    session_of_request().delete()  # ended on every node, for good
    return {"node": NODE, "pid": os.getpid()}


app = SessionMiddleware(shop)  # the one line
