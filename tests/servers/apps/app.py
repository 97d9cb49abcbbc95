"""A counter in the session, on Flask; ``app`` under any WSGI server."""

import os

from flask import Flask, session

from clustersession.flask import ClusterSession

app = Flask(__name__)
ClusterSession(app)


@app.post("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return {"count": session["count"], "pid": os.getpid()}


@app.get("/pid")
def pid():
    return {"pid": os.getpid()}
