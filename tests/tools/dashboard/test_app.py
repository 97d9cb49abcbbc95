"""The dashboard inside an application, beside its middleware."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from clustersession.asgi import ClusterSessionMiddleware
from clustersession.core.errors import ConfigurationError
from clustersession.dashboard import Dashboard
from clustersession.session.users import handle_of
from tests.tools.dashboard.visitor import TOKEN


@pytest.fixture
async def client(options: dict[str, object]) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Mount("/cluster", Dashboard(**options))])
    middleware = ClusterSessionMiddleware(app, **options)
    transport = httpx.ASGITransport(middleware)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        client.manager = middleware.runtime.manager()  # type: ignore[attr-defined]
        yield client
    middleware.runtime.close()


async def sign_in(client: httpx.AsyncClient) -> None:
    form = await client.get("/cluster/")
    assert form.status_code == 401
    token = re.findall(r'name="form_token" value="([\w-]+)"', form.text)[0]
    answer = await client.post("/cluster/login", data={"form_token": token, "token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/cluster/"
    assert "path=/cluster/;" in answer.headers["set-cookie"].lower()


async def test_it_shares_the_node_of_the_middleware(client: httpx.AsyncClient) -> None:
    manager = client.manager  # type: ignore[attr-defined]
    visit = manager.open([])
    visit.session.principal = "<b>bob-the-user</b>"
    visit.session["cart"] = ["tea"]
    visit.session.label = "Firefox on <i>Linux</i>"
    manager.commit(visit)
    await sign_in(client)
    page = await client.get("/cluster/")
    assert "shop · tomcat1" in page.text
    assert 'href="/cluster/style.css"' in page.text
    assert (await client.get("/cluster/style.css")).headers["content-type"].startswith("text/css")
    handle = handle_of(visit.key)
    page = await client.get(f"/cluster/session/{handle}")
    assert "set, not shown" in page.text
    assert "bob-the-user" not in page.text
    assert "Firefox on &lt;i&gt;Linux&lt;/i&gt;" in page.text
    token = re.findall(r'name="form_token" value="([\w-]+)"', page.text)[0]
    ended = await client.post(
        f"/cluster/session/{handle}/end-principal", data={"form_token": token, "sure": "yes"}
    )
    assert "1 session ended" in ended.text
    assert "Ended at" in (await client.get(f"/cluster/session/{handle}")).text
    again = {"form_token": token, "sure": "yes", "principal": "ann"}
    assert "0 sessions ended" in (await client.post("/cluster/end-principal", data=again)).text


def test_it_is_refused_without_a_token_of_its_own(options: dict[str, object]) -> None:
    del options["dashboard_token"]
    with pytest.raises(ConfigurationError, match="set dashboard_token"):
        Dashboard(**options)


def test_it_is_refused_with_a_token_that_can_be_guessed(options: dict[str, object]) -> None:
    options["dashboard_token"] = "changeme-changeme-123"
    with pytest.raises(ConfigurationError, match="can be guessed") as refused:
        Dashboard(**options)
    assert "changeme" not in str(refused.value)


async def test_other_names_than_those_given_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/cluster/", headers={"host": "evil.example"})
    assert answer.status_code == 400
