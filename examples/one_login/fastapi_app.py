"""The FastAPI part of one site; see flask_app.py beside this file."""

from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from clustersession.fastapi import ClusterSessionMiddleware, SessionDependency

app = FastAPI()
app.add_middleware(ClusterSessionMiddleware)

PAGE = """<!doctype html><html lang="en"><title>FastAPI</title>
<p>FastAPI knows user {user}.</p>
<p>The session holds: {names}.</p>
<form method="post" action="/fastapi/login"><input name="user"><button>Log in</button></form>
<form method="post" action="/fastapi/logout"><button>Log out</button></form>
"""


@app.get("/fastapi/", response_class=HTMLResponse)
async def page(session: SessionDependency) -> str:
    session["fastapi_visits"] = session.get("fastapi_visits", 0) + 1
    return PAGE.format(
        user=escape(str(session.principal)), names=escape(", ".join(sorted(session)))
    )


@app.post("/fastapi/login")
async def log_in(request: Request, session: SessionDependency) -> RedirectResponse:
    user = parse_qs((await request.body()).decode())["user"][0]
    if session.principal not in (None, user):
        session.invalidate()
    session.rotate()
    session.principal = user
    return RedirectResponse("/fastapi/", status_code=303)


@app.post("/fastapi/logout")
async def log_out(session: SessionDependency) -> RedirectResponse:
    session.clear()
    return RedirectResponse("/fastapi/", status_code=303)
