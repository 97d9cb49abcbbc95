"""A snippet whose preview is its text."""

from django.db import models
from django.http import HttpRequest, HttpResponse
from wagtail.models import PreviewableMixin
from wagtail.snippets.models import register_snippet


@register_snippet
class Note(PreviewableMixin, models.Model):
    """Is shown as it is."""

    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text

    def serve_preview(self, request: HttpRequest, mode_name: str) -> HttpResponse:
        return HttpResponse(self.text)
