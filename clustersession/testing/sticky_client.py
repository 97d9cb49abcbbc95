"""Is an HTTP client for tests that behaves like a browser behind a sticky balancer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

REQUEST_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """Is a response, and the route of the node that gave it."""

    status: int
    text: str
    headers: Mapping[str, str]
    route: str

    @property
    def status_code(self) -> int:
        """Return the status, under the name that most test clients give it."""
        return self.status

    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.text)


class StickyClient:
    """Keeps cookies, and sends each request to the node that they name.

    A node that does not answer is passed over, so that a request may reach two nodes; one without
    a known route goes to the first node that answers. Redirections are not followed.

    Attributes:
        cookies: what it holds, by name.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)
        self.cookies: dict[str, str] = {}

    @property
    def route(self) -> str:
        """Return the route that the cookies name; empty without one."""
        named = (value.partition(".")[2] for value in self.cookies.values())
        return next((route for route in named if route in self._urls), "")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> NodeAnswer:
        """Get a page."""
        return self.request("GET", path, headers=headers)

    def post(
        self,
        path: str,
        data: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> NodeAnswer:
        """Post a form, or ``json``."""
        return self.request("POST", path, data, json=json, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        data: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> NodeAnswer:
        """Send a request. Raises ConnectionError when no node answers."""
        body, kind = _encoded(data, json)
        sent = {**({"Content-Type": kind} if kind else {}), **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        first = self.route
        for route in sorted(self._urls, key=lambda route: route != first):
            try:
                return self._ask(route, method, path, body, sent)
            except (OSError, HTTPException):
                continue
        raise ConnectionError(f"none of {', '.join(self._urls)} answers")

    def _ask(
        self, route: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> NodeAnswer:
        connection = HTTPConnection(urlsplit(self._urls[route]).netloc, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie") or ():
            self._take(line)
        return NodeAnswer(response.status, text, dict(response.headers.items()), route)

    def _take(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            if morsel["max-age"] == "0" or not morsel.value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value


def _encoded(data: Mapping[str, str] | None, content: Any) -> tuple[bytes | None, str]:
    if content is not None:
        return json.dumps(content).encode(), "application/json"
    if data is not None:
        return urlencode(data).encode(), "application/x-www-form-urlencoded"
    return None, ""
