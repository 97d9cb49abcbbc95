"""python waitress_app.py 127.0.0.1:8001: waitress is a function, and needs no hook."""

import sys

import waitress
from app import app

app.extensions["clustersession"].start(app)
waitress.serve(app, listen=sys.argv[1], threads=4)
