"""One browser, or what pretends to be one, over raw HTTP."""

import http.client
import re
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

TOKEN = "a-token-of-more-than-16"
FORM_TOKEN = re.compile(r'name="form_token" value="([\w-]+)"')


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def form_token(self) -> str:
        return FORM_TOKEN.findall(self.body)[0]

    @property
    def cookie(self) -> str:
        return self.headers["set-cookie"].partition(";")[0]


class Visitor:
    """One browser, or what pretends to be one."""

    def __init__(self, link: str) -> None:
        self.link = urlsplit(link)
        self.cookie = ""

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        sent = {"Host": self.link.netloc, "Connection": "close"}
        if self.cookie:
            sent["Cookie"] = self.cookie
        body = None
        if form is not None:
            body = urlencode(form)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.link.port, timeout=20)
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        connection.close()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def enter(self) -> Answer:
        answer = self.get(f"/enter?{self.link.query}")
        if answer.status == 303:
            self.cookie = answer.cookie
        return answer

    def post(self, path: str, **form: str) -> Answer:
        token = self.get("/").form_token
        return self.ask("POST", path, {"form_token": token, **form})
