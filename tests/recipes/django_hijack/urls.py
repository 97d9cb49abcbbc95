"""A login, hijack's two views."""

from django.contrib.auth import authenticate, login
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.recipes import django_base


def log_in(request: HttpRequest) -> HttpResponse:
    login(request, authenticate(request, **request.POST.dict()))
    return HttpResponse("in")


urlpatterns = [
    *django_base.urlpatterns,
    path("login", log_in),
    path("logout", LogoutView.as_view(next_page="/")),
    path("hijack/", include("hijack.urls")),
]
