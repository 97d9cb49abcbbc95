"""Reads a request's form, paths and cookie, and answers with a page."""

from urllib.parse import parse_qs

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from clustersession.tools.dashboard.guard import COOKIE

BODY_BYTES_MAX = 8192
FIELDS_MAX = 20


async def read_form(request: Request) -> dict[str, str] | None:
    """Read the first value of each field; None for what is no form or too long."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=FIELDS_MAX)
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}


def base_of(request: Request) -> str:
    """Read the path under which the dashboard stands, with a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/") + "/"


def path_of(request: Request) -> str:
    """Read the path below our own root, by which the router chooses too.

    Not that of ``request.url``: Starlette before 1.0.1 puts that together with the Host header, in
    which a stranger may write a path, and a question mark that hides the real one.
    """
    path, root = str(request.scope["path"]), base_of(request).removesuffix("/")
    return path.removeprefix(root).removeprefix("/") if path.startswith(root + "/") else path


def host_of(request: Request) -> str:
    """Read the Host header; empty when there is none, or more than one."""
    hosts = request.headers.getlist("host")
    return hosts[0] if len(hosts) == 1 else ""


def cookie_of(request: Request) -> str:
    """Read the dashboard's cookie."""
    return request.cookies.get(COOKIE, "")


def client_of(request: Request) -> str:
    """Read the client's address, for the log."""
    return request.client.host if request.client else "an unknown address"


def html_response(page: Markup, status: int = 200) -> Response:
    """Answer with a page."""
    return Response(page, status, media_type="text/html")
