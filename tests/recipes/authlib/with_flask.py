"""The client in Flask."""

from typing import Any

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, url_for
from provider import REGISTERED

from clustersession.flask import ClusterSession, session

app = Flask(__name__)
ClusterSession(app)
oauth = OAuth(app)
oauth.register("provider", **REGISTERED)


@app.get("/flask/login")
def log_in() -> Any:
    return oauth.provider.authorize_redirect(url_for("callback", _external=True))


@app.get("/flask/callback")
def callback() -> Any:
    try:
        token = oauth.provider.authorize_access_token()
    except OAuthError as error:
        return str(error), 400
    user = oauth.provider.userinfo(token=token)
    session.rotate()
    session["user"] = session.principal = user["sub"]
    return "in"


@app.post("/flask/logout")
def log_out() -> str:
    session.clear()
    return "out"


@app.get("/flask")
def home() -> dict[str, Any]:
    return {"names": sorted(session), "principal": session.principal}
