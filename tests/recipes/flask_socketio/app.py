"""A chat whose sockets share the session of the browser."""

from flask import Flask, request
from flask_socketio import SocketIO

from clustersession.flask import ClusterSession, session

app = Flask(__name__)
app.secret_key = "the secret of the cluster is in the environment"
ClusterSession(app)
socketio = SocketIO(app, manage_session=False, async_mode="threading")
copying = SocketIO(app, path="copying.io", async_mode="threading")


@app.post("/login")
def log_in() -> str:
    session.rotate()
    session["user"] = session.principal = request.form["name"]
    return "in"


@app.post("/logout")
def log_out() -> str:
    session.clear()
    return "out"


@app.get("/")
def home() -> dict[str, object]:
    return {"user": session.get("user"), "said": session.get("said", [])}


@copying.on("say")
@socketio.on("say")
def say(text: str) -> dict[str, object]:
    session.setdefault("said", []).append(text)
    return {"user": session.get("user"), "said": session["said"]}
