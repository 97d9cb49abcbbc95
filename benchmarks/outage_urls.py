"""The one view of the Django applications of ``benchmarks.outage_apps``."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.outage_apps import visit


def answer(request: HttpRequest, action: str) -> HttpResponse:
    """Do what the path says."""
    return HttpResponse(visit(request.session, f"/{action}", request.META["QUERY_STRING"]))


urlpatterns = [path("<str:action>", answer)]
