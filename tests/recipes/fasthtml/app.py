"""An application of FastHTML whose handlers get our session."""

from fasthtml.common import FastHTML, RedirectResponse
from starlette.middleware import Middleware
from starlette.requests import Request

from clustersession.asgi import ClusterSessionMiddleware, session_of

app = FastHTML(
    sess_cls=None, secret_key="unused", middleware=[Middleware(ClusterSessionMiddleware)]
)
rt = app.route


@rt("/")
def get(session) -> str:
    session["visits"] = session.get("visits", 0) + 1
    return f"user={session.get('user')} visits={session['visits']}"


@rt("/login")
def post(request: Request, name: str) -> RedirectResponse:
    session = session_of(request)
    session.rotate()
    session["user"] = session.principal = name
    return RedirectResponse("/", 303)


@app.post("/logout")
def log_out(session) -> RedirectResponse:
    session.clear()
    return RedirectResponse("/", 303)
