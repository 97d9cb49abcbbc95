"""Django under ASGI has a lifespan, in which its node joins."""

from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from starlette.testclient import TestClient

from clustersession.core.errors import ReplicaUnusable
from clustersession.django import configuration
from clustersession.django.asgi import with_lifespan
from tests.adapters import django_project
from tests.adapters.django_project import OURS


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Any:
    def page(request: HttpRequest) -> JsonResponse:
        request.session["n"] = request.session.get("n", 0) + 1
        return JsonResponse({"n": request.session["n"]})

    monkeypatch.setattr(django_project, "view", page)
    configuration.close()
    with override_settings(MIDDLEWARE=[OURS]):
        yield with_lifespan(ASGIHandler())
    configuration.close()


def test_the_node_is_open_before_the_first_request_and_closed_after_the_last(
    application: Any, state: Path
) -> None:
    assert not list(state.rglob("replica"))
    with TestClient(application) as client:
        assert list(state.rglob("replica"))
        assert [client.get("/").json() for _ in range(2)] == [{"n": 1}, {"n": 2}]
    assert configuration._runtime is None


def test_django_itself_refuses_the_lifespan() -> None:
    with pytest.raises(ValueError, match="lifespan"), TestClient(ASGIHandler()):
        pass


def test_a_node_that_cannot_work_does_not_start(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with override_settings(CLUSTERSESSION={"state_dir": str(tmp_path / "file" / "state")}):
        with pytest.raises(ReplicaUnusable, match="state_dir"), TestClient(application):
            pass
