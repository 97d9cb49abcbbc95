"""granian --interface wsgi --workers 4 granian_app:app: its workers alone import this module."""

from app import app

app.extensions["clustersession"].start(app)
