"""A small shop on FastAPI whose sessions survive the death of a node.

    pip install "clustersession[fastapi]" uvicorn
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 uvicorn app:app --port 8001
    CLUSTERSESSION_ROUTE=tomcat2 uvicorn app:app --port 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET.

The one line is marked below; everything else about the cluster comes from the environment, so the
same code runs on every node and on a laptop.
"""

import asyncio
import os
import secrets
from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Body, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse, RedirectResponse

from clustersession import Counter, MergingList
from clustersession.asgi import ClusterSessionMiddleware

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")
GOODS = ("tea", "cake", "jam")

app = FastAPI(title="The Clustered Tea Shop")
app.add_middleware(ClusterSessionMiddleware)  # the one line

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


@app.get("/", response_class=HTMLResponse)
async def page(request: Request) -> str:
    session: Any = request.session
    session["visits"] = session.get("visits", Counter()) + 1
    user = session.get("user")
    name_field = '<input name="user" placeholder="your name" required>'
    return PAGE.format(
        user=escape(str(user or "stranger")),
        visits=session["visits"],
        cart=escape(", ".join(map(str, session.get("cart", [])))) or "empty",
        buttons=" ".join(button(f"/cart/{item}", f"Add {item}") for item in GOODS),
        door=button("/logout", "Log out") + ' <a href="/devices">Your devices</a>'
        if user else button("/login", "Log in", name_field),
        node=escape(NODE), pid=os.getpid(), sid=(session.sid or "")[:6],
    )


@app.post("/cart/{item}")
async def add_to_cart(request: Request, item: str) -> RedirectResponse:
    if item in GOODS:
        # Noticed, although changed in place, and merged with what another tab adds at this moment.
        request.session.setdefault("cart", MergingList()).append(item)
    return RedirectResponse("/", status_code=303)


@app.post("/login")
async def log_in(request: Request) -> RedirectResponse:
    fields = parse_qs((await request.body()).decode())
    _log_in(request, fields.get("user", ["nobody"])[0][:80])
    return RedirectResponse("/", status_code=303)


@app.post("/logout")
async def log_out(request: Request) -> RedirectResponse:
    request.session.invalidate()  # type: ignore[attr-defined]  # ended on every node, for good
    return RedirectResponse("/", status_code=303)


DEVICES = """<!doctype html><html lang="en"><title>Your devices</title>
<h1>Your devices</h1>
<table><tr><th>Device<th>First seen<th>Last seen<th></tr>
{rows}</table>
<p>{others} <a href="/">Back</a></p>
"""


@app.get("/devices", response_class=HTMLResponse)
async def devices(request: Request) -> Any:
    session: Any = request.session
    if session.principal is None:
        return RedirectResponse("/", status_code=303)
    # A form of another site cannot know it.
    token = session.setdefault("csrf", secrets.token_urlsafe(16))
    field = f'<input type="hidden" name="csrf" value="{token}">'
    rows = ""
    for view in await session.cluster.asessions_of(session.principal, current=session):
        handle = f'{field}<input type="hidden" name="handle" value="{view.handle}">'
        rows += (
            f"<tr><td>{escape(view.label or 'A device')}<td>{view.created:%Y-%m-%d %H:%M}"
            f"<td>{view.last_access:%Y-%m-%d %H:%M}<td>"
            f"{'this one' if view.current else button('/devices/end', 'Log out', handle)}</tr>\n"
        )
    others = button("/devices/end-others", "Log out all others", field)
    return DEVICES.format(rows=rows, others=others)


@app.post("/devices/end")
async def end_device(request: Request) -> RedirectResponse:
    session: Any = request.session
    fields = await _own_form(request)
    # With the user, so that it can only be one of their own.
    await session.cluster.aend(fields.get("handle", ""), session.principal)
    return RedirectResponse("/devices", status_code=303)


@app.post("/devices/end-others")
async def end_other_devices(request: Request) -> RedirectResponse:
    session: Any = request.session
    await _own_form(request)
    await session.cluster.aend_all(session.principal, except_current=session)
    return RedirectResponse("/devices", status_code=303)


async def _own_form(request: Request) -> dict[str, str]:
    """Read a form of the page above, of somebody who is logged in; refuse any other."""
    session: Any = request.session
    fields = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
    expected = session.get("csrf", "")
    given = fields.get("csrf", "")
    if not expected or not secrets.compare_digest(given.encode(), expected.encode()):
        raise HTTPException(403, "this form is not of your own page")
    if session.principal is None or len(fields.get("handle", "0" * 32)) != 32:
        raise HTTPException(400, "no such session")
    return fields


@app.websocket("/live")
async def live(socket: WebSocket) -> None:
    """Whatever is sent goes into the cart, and is safe on another node before it is answered."""
    session: Any = socket.session
    await socket.accept()
    async for item in socket.iter_text():
        session.setdefault("cart", []).append(item)
        await session.asave()
        await socket.send_json({"node": NODE, "cart": session["cart"]})


# The same as JSON, for scripts.

@app.get("/api/whoami")
async def who_am_i() -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid()}


@app.get("/api/session")
async def api_show(request: Request) -> dict[str, object]:
    return {"node": NODE, "pid": os.getpid(), "data": dict(request.session)}


@app.get("/api/get")
async def api_get(request: Request, key: str) -> dict[str, object]:
    return {"node": NODE, "value": request.session.get(key)}


@app.post("/api/set")
async def api_set(
    request: Request, key: Annotated[str, Body()], value: Annotated[Any, Body()]
) -> dict[str, object]:
    request.session[key] = value
    return await api_show(request)


@app.post("/api/append")
async def api_append(
    request: Request, key: Annotated[str, Body()], value: Annotated[Any, Body()]
) -> dict[str, object]:
    request.session.setdefault(key, []).append(value)
    return await api_show(request)


@app.post("/api/count")
async def api_count(request: Request) -> dict[str, object]:
    request.session["count"] = request.session.get("count", 0) + 1
    return {"node": NODE, "pid": os.getpid(), "count": request.session["count"]}


@app.post("/api/slow")
async def api_slow(
    request: Request,
    key: Annotated[str, Body()],
    value: Annotated[Any, Body()],
    seconds: Annotated[float, Body()],
) -> dict[str, object]:
    """Reads at once, writes after a while: what a slow request does to a faster one's logout."""
    request.session.get(key)
    await asyncio.sleep(min(seconds, 30.0))
    request.session[key] = value
    return await api_show(request)


@app.post("/api/login")
async def api_login(request: Request, user: Annotated[str, Body(embed=True)]) -> dict[str, object]:
    _log_in(request, user)
    return await api_show(request)


@app.post("/api/logout")
async def api_logout(request: Request) -> dict[str, object]:
    request.session.invalidate()  # type: ignore[attr-defined]
    return {"node": NODE, "pid": os.getpid()}


def _log_in(request: Request, user: str) -> None:
    session: Any = request.session
    session.rotate()  # a new id at login, so that an id planted before it is worth nothing
    session["user"] = user
    session.principal = user
    session.label = device_of(request.headers.get("user-agent", ""))


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
