"""Wagtail's admin beside the pages that look."""

from django.urls import include, path
from wagtail.admin import urls as admin

from tests.recipes import django_base

urlpatterns = [*django_base.urlpatterns, path("admin/", include(admin))]
