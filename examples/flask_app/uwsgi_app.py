"""uwsgi --master --processes 4 --die-on-term --worker-reload-mercy 10 --module uwsgi_app:app"""

import uwsgi
from app import app
from uwsgidecorators import postfork


@postfork
def start():
    app.extensions["clustersession"].start(app)


if uwsgi.worker_id():  # with --lazy-apps this is a worker already
    start()
