"""The admin's page of users' sessions: who may look, who may end, and what it lists and ends."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core import management
from django.http import HttpResponse
from django.test import Client, override_settings

from tests.adapters import django_project
from tests.adapters.django.views import User
from tests.adapters.django_project import OTHERS, OURS

PAGE = "/admin/clustersession/usersession/"
PROJECT = {
    "INSTALLED_APPS": [
        "django.contrib.admin", "django.contrib.contenttypes", "django.contrib.auth",
        "django.contrib.messages", "django.contrib.sessions", "clustersession.django",
    ],
    "ROOT_URLCONF": "tests.adapters.django.admin_urls",
    "MIDDLEWARE": [OURS, *OTHERS],
    "TEMPLATES": [{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
}  # fmt: skip


@pytest.fixture
def site() -> Iterator[None]:
    """The project with its admin, whose tables are there."""
    with override_settings(**PROJECT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        management.call_command("migrate", verbosity=0)
        get_user_model().objects.all().delete()
        yield


def made(name: str, *permissions: str, is_staff: bool = True) -> User:
    user = get_user_model().objects.create_user(name, password="secret", is_staff=is_staff)
    found = Permission.objects.filter(codename__in=permissions)
    assert len(found) == len(permissions)
    user.user_permissions.set(found)
    return user


def logged_in(user: User, **options: bool) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


@contextmanager
def showing_the_user() -> Iterator[None]:
    django_project.view = lambda request: HttpResponse(request.user.get_username() or "nobody")
    yield
    django_project.view = None


@pytest.fixture
def ann(site: None) -> Iterator[list[Client]]:
    """A user's two browsers."""
    user = made("ann", is_staff=False)
    with showing_the_user():
        browsers = [logged_in(user), logged_in(user)]
        assert [browser.get("/").content for browser in browsers] == [b"ann", b"ann"]
        yield browsers


def handles(client: Client) -> list[str]:
    answer = client.get(PAGE, {"user": "ann"})
    assert answer.status_code == 200
    return [view.handle for view in answer.context_data["views"]]


def test_who_is_no_staff_or_has_no_permission_sees_nothing(ann: list[Client]) -> None:
    assert ann[0].get(PAGE).status_code == 302
    client = logged_in(made("bob"))
    assert client.get(PAGE, {"user": "ann"}).status_code == 403
    assert client.post(PAGE, {"user": "ann"}).status_code == 403
    assert [browser.get("/").content for browser in ann] == [b"ann", b"ann"]


def test_who_may_look_may_not_end(ann: list[Client]) -> None:
    client = logged_in(made("bob", "view_usersession"))
    assert len(handles(client)) == 2
    assert b"End all" not in client.get(PAGE, {"user": "ann"}).content
    assert client.post(PAGE, {"user": "ann"}).status_code == 403
    assert [browser.get("/").content for browser in ann] == [b"ann", b"ann"]


def test_one_session_is_ended_and_then_all(ann: list[Client]) -> None:
    from django.contrib.admin.models import LogEntry

    client = logged_in(made("bob", "view_usersession", "delete_usersession"))
    newest, _ = handles(client)
    answer = client.post(PAGE, {"user": "ann", "handle": newest}, follow=True)
    assert b"1 session of ann ended" in answer.content
    assert len(handles(client)) == 1
    assert sorted(browser.get("/").content for browser in ann) == [b"ann", b"nobody"]
    client.post(PAGE, {"user": "ann"})
    assert [browser.get("/").content for browser in ann] == [b"nobody", b"nobody"]
    assert client.get("/").content == b"bob"
    assert [entry.object_repr for entry in LogEntry.objects.filter(user__username="bob")] == [
        "1 session of ann", "1 session of ann",
    ]  # fmt: skip


def test_a_form_of_another_site_ends_nothing(ann: list[Client]) -> None:
    user = made("bob", "view_usersession", "delete_usersession")
    client = logged_in(user, enforce_csrf_checks=True)
    assert client.post(PAGE, {"user": "ann"}).status_code == 403
    assert ann[0].get("/").content == b"ann"


def test_names_and_labels_are_text_in_the_page(site: None) -> None:
    client = logged_in(made("bob", "view_usersession"))
    answer = client.get(PAGE, {"user": "<script>"})
    assert b"<script>" not in answer.content.split(b'id="content-main"')[1]
    assert b"No live session of &lt;script&gt; is known" in answer.content


def test_the_front_page_leads_there(site: None) -> None:
    client = logged_in(made("bob", "view_usersession"))
    assert f'href="{PAGE}"'.encode() in client.get("/admin/").content
