"""A page with the toolbar, which shows what the session has."""

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import SESSION_MIDDLEWARE, prepare, project

project(
    "urls",
    apps=["debug_toolbar"],
    middleware=[],
    MIDDLEWARE=[
        "debug_toolbar.middleware.DebugToolbarMiddleware",
        SESSION_MIDDLEWARE,
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DEBUG=True,
    INTERNAL_IPS=["127.0.0.1"],
    DEBUG_TOOLBAR_CONFIG={"TOOLBAR_STORE_CLASS": "debug_toolbar.store.DatabaseStore"},
)
app = get_wsgi_application()

if __name__ == "__main__":
    prepare()
