"""Adds a page to Django's admin that lists and ends the sessions of a user, on all nodes.

It is there when ``"clustersession.django"`` and ``"django.contrib.admin"`` are installed. Staff
with ``clustersession.view_usersession`` may look, with ``clustersession.delete_usersession`` end.
Who ends what stands in the admin's log.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from clustersession.core.errors import ReplicaFull
from clustersession.django.configuration import follows_logins, sessions
from clustersession.django.models import UserSession

PAGE = "clustersession_usersession_changelist"


@admin.register(UserSession)
class UserSessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none when it runs
    """Is one page: a user is asked for, and the live sessions are listed with a button for each."""

    def get_urls(self) -> list[URLPattern]:
        """Name the one page that there is."""
        return [path("", self.admin_site.admin_view(self.page), name=PAGE)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody makes sessions here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Nobody changes them here."""
        return False

    def page(self, request: HttpRequest) -> HttpResponse:
        """List the sessions of the user who is asked for, and end what a form names."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = (request.POST if request.method == "POST" else request.GET).get("user", "").strip()
        if request.method == "POST":
            self._end(request, name)
            query = urlencode({"user": name})
            return HttpResponseRedirect(f"{reverse(f'{self.admin_site.name}:{PAGE}')}?{query}")
        context = {
            **self.admin_site.each_context(request),
            "title": "Sessions of users", "opts": UserSession._meta, "name": name,
            "views": sessions().sessions_of(_principal(name)) if name else [],
            "may_end": self.has_delete_permission(request),
        }
        return TemplateResponse(request, "clustersession/user_sessions.html", context)

    def _end(self, request: HttpRequest, name: str) -> None:
        """End one session or all of the user's, and note who did it."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        handle, principal = request.POST.get("handle", ""), _principal(name)
        if not name:
            return
        try:
            if handle:
                ended = int(sessions().end(handle, principal))
            else:
                ended = sessions().end_all(principal)
        except (ReplicaFull, ValueError) as error:
            messages.error(request, str(error))
            return
        plural = "" if ended == 1 else "s"
        messages.success(request, f"{ended} session{plural} of {name} ended, on all nodes.")
        _note(request, handle, f"{ended} session{plural} of {name}")


def _principal(name: str) -> str:
    """Return whose sessions are meant: a user is known to sessions by the key, as logins say."""
    if not follows_logins():
        return name
    users: Any = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
    return name if user is None else str(user.pk)


def _note(request: HttpRequest, handle: str, what: str) -> None:
    """Write it into the admin's log. Written without its helpers, whose names Django changes."""
    LogEntry.objects.create(
        user_id=request.user.pk, content_type=ContentType.objects.get_for_model(UserSession),
        object_id=handle[:8], object_repr=what[:200], action_flag=DELETION, change_message="Ended.",
    )
