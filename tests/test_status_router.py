"""The status page as a router of FastAPI: behind the application's dependencies, and all of it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from clustersession.core.errors import ConfigurationError
from clustersession.status_router import status_router
from tests.tools.dashboard.visitor import TOKEN

STAFF = {"x-staff": "yes"}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    return {
        "distributable": True, "agent": "thread", "bind": "127.0.0.1", "multicast_address": "",
        "state_dir": str(tmp_path), "route": "tomcat1", "secret": "s" * 32,
        "dashboard_token": TOKEN, "dashboard_hosts": ("testserver",),
    }


def staff_only(x_staff: str = Header("")) -> None:
    if x_staff != "yes":
        raise HTTPException(403, "staff only")


@pytest.fixture(params=["", "/shop"], ids=["plain", "behind a prefix"])
async def client(
    request: pytest.FixtureRequest, options: dict[str, object]
) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    router = status_router(dependencies=[Depends(staff_only)], **options)
    app.include_router(router, prefix="/cluster")
    transport = httpx.ASGITransport(app, root_path=request.param)
    base = f"http://testserver{request.param}"
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        client.root = request.param  # type: ignore[attr-defined]
        yield client


async def test_nobody_gets_past_the_application_s_dependencies(client: httpx.AsyncClient) -> None:
    for path in ("/cluster/", "/cluster/style.css", "/cluster/login", "/cluster/session/x"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (403, '{"detail":"staff only"}')
    assert (await client.post("/cluster/drain")).status_code == 403


async def test_the_token_is_needed_too_and_then_the_page_is_there(
    client: httpx.AsyncClient
) -> None:
    root = client.root  # type: ignore[attr-defined]
    form = await client.get("/cluster/", headers=STAFF)
    assert form.status_code == 401
    token = re.findall(r'name="form_token" value="([\w-]+)"', form.text)[0]
    answer = await client.post(
        "/cluster/login", data={"form_token": token, "token": TOKEN}, headers=STAFF
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{root}/cluster/")
    page = await client.get("/cluster/", headers=STAFF)
    assert page.status_code == 200
    assert f'href="{root}/cluster/style.css"' in page.text
    assert "content-security-policy" in page.headers
    style = await client.get("/cluster/style.css", headers=STAFF)
    assert style.headers["content-type"].startswith("text/css")


async def test_it_is_no_part_of_the_schema(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["paths"] == {}


def test_without_a_token_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="dashboard_token"):
        status_router()
