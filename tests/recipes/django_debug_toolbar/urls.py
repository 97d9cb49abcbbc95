"""A login, a logout and a page with a body for the toolbar to stand in."""

from debug_toolbar.toolbar import debug_toolbar_urls
from django.contrib.auth import authenticate, login
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.recipes import django_base


def log_in(request: HttpRequest) -> HttpResponse:
    login(request, authenticate(request, **request.POST.dict()))
    return HttpResponse("in")


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<html><body></body></html>")


urlpatterns = [
    *django_base.urlpatterns,
    path("login", log_in),
    path("logout", LogoutView.as_view(next_page="/")),
    path("page", page),
    *debug_toolbar_urls(),
]
