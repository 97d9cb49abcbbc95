"""uwsgi --master --processes 4 --die-on-term --worker-reload-mercy 10 --module uwsgi_app:app"""

import os
import signal
import traceback

import uwsgi
from app import app
from uwsgidecorators import postfork


@postfork
def start():
    try:
        app.extensions["clustersession"].start(app)
    except Exception:
        # After a hook that fails uWSGI would go on, and answer 500.
        traceback.print_exc()
        try:
            if uwsgi.masterpid():
                os.kill(uwsgi.masterpid(), signal.SIGINT)
        finally:  # the master's signal to its workers may come within that call
            os._exit(1)


if uwsgi.worker_id():  # with --lazy-apps this is a worker already
    start()
