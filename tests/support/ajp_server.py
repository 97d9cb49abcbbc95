"""Serve ``app:app`` of the working directory over AJP13, and over HTTP beside it, on loopback.

Arguments: the AJP port, the HTTP port. Both are served by this one process, so that a test can ask
the node past the balancer.
"""

import logging
import os
import sys
from importlib import import_module
from threading import Thread

from flup.server.ajp import WSGIServer
from werkzeug.serving import make_server


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    ajp_port, http_port = (int(argument) for argument in sys.argv[1:])
    sys.path.insert(0, os.getcwd())
    app = import_module("app").app
    http = make_server("127.0.0.1", http_port, app, threaded=True)
    Thread(target=http.serve_forever, daemon=True).start()
    # flup lets anybody connect unless it is given a list.
    WSGIServer(
        app, bindAddress=("127.0.0.1", ajp_port), allowedServers=["127.0.0.1"]
    ).run()


if __name__ == "__main__":
    main()
