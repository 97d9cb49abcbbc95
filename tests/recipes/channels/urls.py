"""Django's own logout beside the consumers, and what a socket has left in the session."""

from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.recipes import django_base


def said(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"said": request.session.get("said", [])})


urlpatterns = [
    *django_base.urlpatterns,
    path("said", said),
    path("logout", LogoutView.as_view(next_page="/")),
]
