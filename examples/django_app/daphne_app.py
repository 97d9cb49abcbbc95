"""daphne daphne_app:application: daphne has no lifespan, and it alone imports this module."""

from asgi import application as application  # type: ignore[import-not-found]

from clustersession.django import start

start()
