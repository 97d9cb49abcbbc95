"""The WSGI application under fault, as the examples' hooks expect theirs."""

from tests.faults.app import over_wsgi


class _Extension:
    def start(self, _):
        over_wsgi.start()


def app(environ, start_response):
    return over_wsgi(environ, start_response)


app.extensions = {"clustersession": _Extension()}
