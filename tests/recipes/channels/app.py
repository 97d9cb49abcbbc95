"""Django and Channels' consumers behind daphne or uvicorn; ``app.py PORT`` runs it."""

import os
import sys

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

from tests.recipes.django_base import prepare, project

project("urls", apps=["channels"], middleware=[])
django_application = get_asgi_application()

from consumers import LogIn, Socket  # noqa: E402 (Django has to be set up)

app = ProtocolTypeRouter({
    "http": URLRouter([
        re_path("^consumer/login$", AuthMiddlewareStack(LogIn.as_asgi())),
        re_path("", django_application),
    ]),
    "websocket": AuthMiddlewareStack(Socket.as_asgi()),
})

SERVERS = {
    "daphne": ["daphne", "-b", "127.0.0.1", "-p"],
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port"],
}

if __name__ == "__main__":
    if sys.argv[1:]:
        server, *options = SERVERS[os.environ["SERVER"]]
        os.execv(sys.executable, [
            sys.executable, "-m", server, *options, sys.argv[1], "app:app",
        ])
    prepare()
