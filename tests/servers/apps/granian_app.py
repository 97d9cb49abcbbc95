"""The Flask counter under granian, whose workers, and only they, import this module."""

from flask_app import app

app.extensions["clustersession"].start(app)
