"""Support staff that acts as a customer, by django-hijack."""

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import prepare, project

project("urls", apps=["hijack"], middleware=["hijack.middleware.HijackUserMiddleware"])
app = get_wsgi_application()

if __name__ == "__main__":
    prepare()
    prepare("customer")
