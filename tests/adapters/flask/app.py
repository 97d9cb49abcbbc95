"""A Flask application that tests visit."""

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, flash, get_flashed_messages, session, stream_with_context
from markupsafe import Markup

from clustersession.flask import ClusterSession

made: list[Flask] = []


def make_app(extension: ClusterSession | None = None, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update({"SECRET_KEY": "a key of the application", "TESTING": True, **config})
    if extension is None:
        ClusterSession(app)
    else:
        extension.init_app(app)
    made.append(app)

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(session)

    @app.get("/untouched")
    def untouched() -> str:
        return "ok"

    @app.get("/set")
    def set_value() -> str:
        session["cart"] = [1]
        return "ok"

    @app.get("/append")
    def append() -> str:
        session["cart"].append(2)
        return "ok"

    @app.get("/permanent")
    def permanent() -> str:
        session.permanent = True
        session["a"] = 1
        return "ok"

    @app.get("/flash")
    def make_flash() -> str:
        flash("plain")
        flash(Markup("<b>bold</b>"), "note")
        return "ok"

    @app.get("/flashed")
    def flashed() -> str:
        messages = get_flashed_messages(with_categories=True)
        assert all(isinstance(m, tuple) for m in messages)
        return "|".join(f"{type(text).__name__}:{category}" for category, text in messages)

    @app.get("/logout")
    def logout() -> str:
        session.clear()
        return "ok"

    @app.get("/invalidate")
    def invalidate() -> str:
        session.invalidate()  # type: ignore[attr-defined]
        return "ok"

    @app.get("/bad")
    def bad() -> str:
        session["thing"] = object()
        return "ok"

    @app.get("/stream")
    def stream() -> Response:
        def body() -> Iterator[str]:
            session["streamed"] = 1
            yield "x"
            session["streamed"] = 2
            yield "y"

        return Response(stream_with_context(body()))

    return app
