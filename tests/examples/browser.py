"""A browser without scripts: it keeps cookies, follows redirects and sends forms."""

import re
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from clustersession.tools.demo.nodes import COOKIE_NAME, Node

TOKEN = re.compile(r'name="(csrf\w*)" value="([^"]+)"')


class Browser:
    """Keeps cookies, for all ports of this host as browsers do."""

    def __init__(self, user_agent: str = "") -> None:
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        if user_agent:
            self._opener.addheaders = [("User-Agent", user_agent)]
        self._token: dict[str, str] = {}

    def get(self, node: Node, path: str) -> str:
        """Ask for a page."""
        return self._read(urllib.request.Request(f"http://127.0.0.1:{node.direct_port}{path}"))

    def post(self, node: Node, path: str, **fields: str) -> str:
        """Send a form, with the token of the page seen last, unless the fields have another."""
        url = f"http://127.0.0.1:{node.direct_port}{path}"
        content = urllib.parse.urlencode({**self._token, **fields}).encode()
        return self._read(urllib.request.Request(url, content))

    def cookie(self) -> str:
        """Return the value of the session's cookie."""
        return next((c.value or "" for c in self.jar if c.name == COOKIE_NAME), "")

    def _read(self, request: urllib.request.Request) -> str:
        with self._opener.open(request, timeout=20) as response:
            text: str = response.read().decode()
        if found := TOKEN.search(text):
            self._token = {found[1]: found[2]}
        return text
