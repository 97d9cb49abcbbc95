"""The Flask counter under waitress, which has no hooks and needs none: it is a function."""

import sys

import waitress
from flask_app import app

app.extensions["clustersession"].start(app)
waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=4)
