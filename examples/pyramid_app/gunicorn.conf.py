"""gunicorn reads this file where it is started: the node joins now, not at its first request."""


def post_worker_init(worker):
    worker.wsgi.registry["clustersession"].start()
