"""A Django shop over the session engine that the environment names, one request a process.

    python -m tests.tools.migration.django_shop login            prints the cookie after a login
    python -m tests.tools.migration.django_shop look COOKIE      prints what a visitor with it sees
"""

import json
import os
import sys

import django
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.http import HttpRequest, JsonResponse
from django.urls import path

ENGINE = os.environ["SHOP_ENGINE"]
OURS = ENGINE == "clustersession.django"
_NAME = "clustersession.django.ClusterSessionMiddleware"

if not settings.configured:
    settings.configure(
        SECRET_KEY="the key of the shop",
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"],
        }},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        CACHES={"default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ.get("SHOP_REDIS", "redis://127.0.0.1:1"),
        }},
        INSTALLED_APPS=[
            "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
        ],
        SESSION_ENGINE=ENGINE,
        SESSION_FILE_PATH=os.environ.get("SHOP_FILES"),
        SESSION_COOKIE_NAME="shop_new" if OURS else "sessionid",
        CLUSTERSESSION={"legacy_cookie_name": "sessionid"},
        MIDDLEWARE=[
            _NAME if OURS else "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )


def log_in(request: HttpRequest) -> JsonResponse:
    user = authenticate(request, username="ada", password="secret")
    assert user is not None
    login(request, user)
    request.session["cart"] = ["tea", {"cakes": 2}]
    return JsonResponse({})


def look(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username(), "cart": request.session.get("cart")})


urlpatterns = [path("login", log_in), path("look", look)]


def main() -> None:
    django.setup()
    from django.core.management import call_command
    from django.test import Client

    client = Client()
    if sys.argv[1] == "login":
        call_command("migrate", verbosity=0)
        users = get_user_model().objects
        if not users.filter(username="ada").exists():
            users.create_user("ada", password="secret")
        client.get("/login")
        print(json.dumps(client.cookies["sessionid"].value))
    else:
        client.cookies["sessionid"] = sys.argv[2]
        response = client.get("/look")
        set_by_it = {name: morsel.value for name, morsel in response.cookies.items()}
        print(json.dumps({**response.json(), "cookies": set_by_it}))


if __name__ == "__main__":
    main()
