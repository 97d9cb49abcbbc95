"""An API whose users log in to its browsable pages."""

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import prepare, project

project(
    "urls", apps=["rest_framework"], middleware=[],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    },
)
app = get_wsgi_application()

if __name__ == "__main__":
    prepare()
