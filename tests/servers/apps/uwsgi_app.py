"""The Flask counter under uWSGI, which joins where the worker begins."""

import uwsgi
from flask_app import app
from uwsgidecorators import postfork


@postfork
def start():
    app.extensions["clustersession"].start(app)


if uwsgi.worker_id():  # lazy-apps: this is a worker already
    start()
