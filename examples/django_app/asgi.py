"""uvicorn asgi:application: the shop under ASGI, whose node joins when the server starts."""

# Configures Django; in a project of yours that is os.environ.setdefault("DJANGO_SETTINGS_MODULE").
import app as app  # type: ignore[import-not-found]
from django.core.asgi import get_asgi_application

from clustersession.django.asgi import with_lifespan

application = with_lifespan(get_asgi_application())  # Django itself has no lifespan
