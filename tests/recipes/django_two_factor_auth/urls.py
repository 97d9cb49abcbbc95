"""The library's wizards, Django's logout, and a page for verified users only."""

from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django_otp.decorators import otp_required
from two_factor.urls import urlpatterns as two_factor

from tests.recipes import django_base


@otp_required
def verified(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.otp_device.name)


urlpatterns = [
    *django_base.urlpatterns,
    path("", include(two_factor)),
    path("logout", LogoutView.as_view(next_page="/")),
    path("verified", verified),
]
