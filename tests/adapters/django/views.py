"""One request with a view, and what it leaves in session and cookies."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client

from tests.adapters import django_project

User = Any  # the model can only be imported once Django is set up


def get(client: Client, view: Callable[[HttpRequest], Any], **extra: Any) -> HttpResponse:
    """Serve one request with the view."""
    before, django_project.view = django_project.view, view
    try:
        return client.get("/", **extra)  # type: ignore[return-value]
    finally:
        django_project.view = before


async def aget(client: AsyncClient, view: Callable[[HttpRequest], Any]) -> HttpResponse:
    django_project.view = view
    return await client.get("/a")  # type: ignore[return-value]


def data(client: Client) -> dict[str, Any]:
    """What a request finds in the session."""
    found: dict[str, Any] = {}
    get(client, lambda request: found.update(request.session.items()))
    return found


def cookie(client: Client) -> str:
    morsel = client.cookies.get("sessionid")
    return morsel.value if morsel is not None else ""


def with_cookie(value: str) -> Client:
    client = Client()
    client.cookies["sessionid"] = value
    return client


def setting(**values: Any) -> Callable[[HttpRequest], None]:
    return lambda request: request.session.update(values)
