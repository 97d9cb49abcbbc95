"""What every adapter keeps, for Flask."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, jsonify, session

from clustersession.flask import ClusterSession
from clustersession.session.events import Events
from clustersession.worker.runtime import Runtime
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View, in_thread


class ServedByFlask(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        self.app = Flask(__name__)
        self.app.config.update(SECRET_KEY="a key of the application")
        ClusterSession(self.app, listeners=listeners)
        for name, view in views.items():
            self.app.add_url_rule(f"/{name}", name, lambda view=view: jsonify(view(session)))

    def get(self, view: str, cookie: str | None = None) -> Answer:
        def ask() -> Answer:
            client = self.app.test_client(use_cookies=False)
            headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
            response = client.get(f"/{view}", headers=headers)
            return Answer(
                response.status_code, response.json,
                tuple(response.headers.getlist("Set-Cookie")), response.headers.get("Vary", ""),
            )

        return in_thread(ask)

    def runtime(self) -> Runtime:
        found: Runtime = self.app.session_interface.runtime(self.app)  # type: ignore[attr-defined]
        return found


class TestContract(AdapterContract):
    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByFlask(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()

    def log_out(self, session: Any) -> None:
        session.clear()
