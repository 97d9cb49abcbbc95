"""The Flask part of one site whose other parts are FastAPI and Django, with one login for all.

    pip install "clustersession[flask,fastapi,django]" gunicorn uvicorn
    export CLUSTERSESSION_CONFIG=clustersession.toml
    export CLUSTERSESSION_SECRET=$(python -c "import secrets; print(secrets.token_urlsafe(32))")
    python django_app.py migrate; python django_app.py createsuperuser
    gunicorn -b 127.0.0.1:8001 flask_app:app
    uvicorn fastapi_app:app --port 8002
    gunicorn -b 127.0.0.1:8003 django_app:app

Users are known by Django's id of them, 1 for the first: that is the principal of the session. A
proxy sends /flask/, /fastapi/ and /django/ to the three; without one, browsers send the cookie of
127.0.0.1 to all its ports. docs/one-login.md says what has to agree.
"""

import os
from datetime import timedelta

from flask import Flask, flash, get_flashed_messages, redirect, render_template_string, request
from werkzeug.wrappers import Response

from clustersession.flask import ClusterSession, session

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("SECRET_KEY", "for development only"),
    # A session that is made permanent here lives as long as one that is not.
    PERMANENT_SESSION_LIFETIME=timedelta(seconds=1800),
)
ClusterSession(app)

PAGE = """<!doctype html><html lang="en"><title>Flask</title>
<p>Flask knows user {{ session.principal }}. {{ messages|join(" ") }}</p>
<p>The login here was made by {{ session["flask_login"] or "another part" }}.</p>
<p>The session holds: {{ session|sort|join(", ") }}.</p>
<form method="post" action="/flask/login"><input name="user"><button>Log in</button></form>
<form method="post" action="/flask/logout"><button>Log out</button></form>
"""


@app.get("/flask/")
def page() -> str:
    session["flask_visits"] = session.get("flask_visits", 0) + 1
    return render_template_string(PAGE, messages=get_flashed_messages())


@app.post("/flask/login")
def log_in() -> Response:
    user = request.form["user"]
    if session.principal not in (None, user):
        session.invalidate()  # nothing of another user's, in no framework: as Django's login does
    session.rotate()
    session.principal = user
    session["flask_login"] = ("Flask", 1)  # stays a tuple, whoever stores the session next
    flash("Welcome!")
    return redirect("/flask/", code=303)


@app.post("/flask/logout")
def log_out() -> Response:
    session.clear()  # here, as in Starlette, that is the end of the session, for all three
    return redirect("/flask/", code=303)
