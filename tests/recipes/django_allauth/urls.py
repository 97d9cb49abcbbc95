"""allauth's own pages, and one that lists the rows of its sessions."""

from allauth.usersessions.models import UserSession
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from tests.recipes import django_base


def rows(request: HttpRequest) -> JsonResponse:
    found = UserSession.objects.filter(user_id=request.user.pk)
    return JsonResponse({"keys": [row.session_key for row in found]})


urlpatterns = [
    *django_base.urlpatterns,
    path("rows", rows),
    path("accounts/", include("allauth.urls")),
]
