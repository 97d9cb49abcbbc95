"""What WSGI benchmarks have in common: calling an application as a server would."""

import io
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import Any

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiClient:
    """Calls a WSGI application."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def ask(self, path: str, cookie: str) -> tuple[str, str]:
        """One request."""
        found: list[Any] = []
        body = b"".join(self._answer(path, cookie, lambda *arguments: found.extend(arguments)))
        if not found[0].startswith("200"):
            raise RuntimeError(f"{path} was answered with {found[0]}: {body[:200]!r}")
        set_cookie = next((v for name, v in found[1] if name.lower() == "set-cookie"), "")
        return set_cookie.partition(";")[0] or cookie, body.decode()

    def series(self, path: str, cookies: Sequence[str], count: int) -> list[int]:
        """The nanoseconds of each of so many requests, whose cookies take turns."""
        taken = []
        for cookie in islice(cycle(cookies), count):
            environ = _environ(path, cookie)
            started_ns = time.perf_counter_ns()
            body = self._app(environ, _start_response)
            for _part in body:
                pass
            if hasattr(body, "close"):
                body.close()
            taken.append(time.perf_counter_ns() - started_ns)
        return taken

    def _answer(self, path: str, cookie: str, start: Callable[..., Any]) -> Iterable[bytes]:
        body = self._app(_environ(path, cookie), start)
        yield from body
        if hasattr(body, "close"):
            body.close()


def _start_response(*_: Any) -> None:
    pass


def _environ(path: str, cookie: str) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
        "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    if cookie:
        environ["HTTP_COOKIE"] = cookie
    return environ
