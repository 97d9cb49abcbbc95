"""A small shop on Pyramid whose sessions survive the death of a node.

    pip install "clustersession[pyramid]" gunicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 gunicorn -w 2 -b 127.0.0.1:8001 app:app
    CLUSTERSESSION_ROUTE=tomcat2 gunicorn -w 2 -b 127.0.0.1:8002 app:app

These are two nodes on one machine; on hosts of their own leave BIND away and give all of them the
same CLUSTERSESSION_SECRET. gunicorn.conf.py beside this file lets a node join when gunicorn starts.

The one line is marked below. Pyramid's own ``remember`` logs in: the session gets a new id and says
whose it is.
"""

import os
from typing import Any

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.security import remember

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")


class SecurityPolicy:
    """Keeps in the session who is logged in."""

    def __init__(self) -> None:
        self._helper = SessionAuthenticationHelper()

    def authenticated_userid(self, request: Any) -> str | None:
        """Return the user who is logged in."""
        userid: str | None = self._helper.authenticated_userid(request)
        return userid

    def remember(self, request: Any, userid: str, **kw: Any) -> Any:
        """Log a user in."""
        return self._helper.remember(request, userid, **kw)

    def forget(self, request: Any, **kw: Any) -> Any:
        """Log the user out."""
        return self._helper.forget(request, **kw)


def show(request: Any) -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid(), "data": dict(request.session)}


def who_am_i(request: Any) -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid(), "user": request.authenticated_userid}


def append(request: Any) -> dict[str, object]:
    content = request.json_body
    # Noticed, although changed in place.
    request.session.setdefault(content["key"], []).append(content["value"])
    return show(request)


def log_in(request: Any) -> dict[str, object]:
    user = request.json_body["user"]
    remember(request, user)  # a new id, so that an id planted before it is worth nothing
    request.session["user"] = user
    request.session.flash(f"Welcome, {user}.")
    return show(request)


def log_out(request: Any) -> dict[str, object]:
    request.session.invalidate()  # ended on every node, for good
    return {"node": NODE, "pid": os.getpid()}


def page(request: Any) -> str:
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    said = " ".join(session.pop_flash())
    cart = ", ".join(session.get("cart", [])) or "empty"
    return f"{said} Visit number {session['visits']}, your cart: {cart}. Served by {NODE}.\n"


def add_to_cart(request: Any) -> HTTPSeeOther:
    item = request.matchdict["item"]
    if item in GOODS:
        request.session.setdefault("cart", []).append(item)
    return HTTPSeeOther(request.route_path("page"))


VIEWS = {
    "/api/whoami": who_am_i, "/api/session": show, "/api/append": append, "/api/login": log_in,
    "/api/logout": log_out,
}

with Configurator() as config:
    config.include("clustersession.pyramid")  # the one line
    config.set_security_policy(SecurityPolicy())
    for path, view in VIEWS.items():
        config.add_route(path, path)
        config.add_view(view, route_name=path, renderer="json")
    config.add_route("page", "/")
    config.add_view(page, route_name="page", renderer="string")
    config.add_route("cart", "/cart/{item}", request_method="POST")
    config.add_view(add_to_cart, route_name="cart")
    app = config.make_wsgi_app()
