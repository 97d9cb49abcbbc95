"""The addresses of a project with an admin."""

from django.contrib import admin
from django.urls import path

from tests.adapters.django_project import page

urlpatterns = [path("admin/", admin.site.urls), path("", page)]
