"""Is the small app that ``clustersession demo`` runs on each node. For copying, see ``examples/``.

It stands above the adapters, because it uses one as any application would.
"""

import os
from html import escape

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from clustersession.fastapi import ClusterSessionMiddleware, SessionDependency

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")

app = FastAPI(title="clustersession demo")
app.add_middleware(ClusterSessionMiddleware, distributable=True)

_PAGE = """<!doctype html><title>{node}</title>
<body style="font: 1.2em sans-serif; max-width: 40em; margin: 3em auto">
<h1>{node}</h1>
<p>Served by process {pid}. You have opened this page <b>{visits}</b> times.</p>
<p>Cart: {cart}</p>
<form method="post" action="/tea"><button>Add tea</button></form>
<p>Now <code>kill -9 {pid}</code> and refresh.</p>
"""


@app.get("/", response_class=HTMLResponse)
async def page(request: Request) -> str:
    """Count the visit and show the session."""
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    cart = escape(", ".join(map(str, session.get("cart", [])))) or "empty"
    return _PAGE.format(node=NODE, pid=os.getpid(), visits=session["visits"], cart=cart)


@app.post("/tea")
async def tea(request: Request) -> RedirectResponse:
    """Append to a list in place: no ``modified = True`` is needed."""
    request.session.setdefault("cart", []).append("tea")
    return RedirectResponse("/", status_code=303)


@app.get("/api/session")
async def show(request: Request) -> dict[str, object]:
    """Tell who answered, and the session; change nothing."""
    return {"node": NODE, "pid": os.getpid(), "data": dict(request.session)}


@app.post("/api/login")
async def log_in(request: Request, session: SessionDependency) -> dict[str, object]:
    """Log a user in, under a new id: {"user": ...}."""
    content = await request.json()
    session.rotate()
    session["user"] = session.principal = content["user"]
    return await show(request)


@app.post("/api/set")
async def set_value(request: Request) -> dict[str, object]:
    """Set one attribute: {"key": ..., "value": ...}."""
    content = await request.json()
    request.session[content["key"]] = content["value"]
    return await show(request)


@app.post("/api/append")
async def append_value(request: Request) -> dict[str, object]:
    """Append to one attribute, a list, in place: {"key": ..., "value": ...}."""
    content = await request.json()
    request.session.setdefault(content["key"], []).append(content["value"])
    return await show(request)
