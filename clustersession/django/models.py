"""Gives the admin page of users' sessions its name and its permissions; there is no table.

Django's admin lists models and asks for permissions on them. This one is unmanaged: nothing
creates a table, and whatever looks for rows (``dumpdata``) finds none.
"""

from django.db import models


class NoRows(models.Manager["UserSession"]):
    """Finds nothing, and asks no database."""

    def get_queryset(self) -> "models.QuerySet[UserSession]":
        """Return the empty queryset."""
        return super().get_queryset().none()


class UserSession(models.Model):
    """Stands for a session of a user; ``clustersession.view_usersession`` lets staff list them."""

    handle: "models.CharField[str, str]" = models.CharField(max_length=32, primary_key=True)

    objects = NoRows()

    class Meta:
        """Says that there is no table, and which permissions there are."""

        app_label = "clustersession"
        managed = False
        default_permissions = ("view", "delete")
        base_manager_name = "objects"
        verbose_name = "session of a user"
        verbose_name_plural = "sessions of users"
