def post_worker_init(worker):
    app = worker.wsgi
    app.extensions["clustersession"].start(app)
