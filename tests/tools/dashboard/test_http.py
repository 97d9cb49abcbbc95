"""What a request says is read without believing more of it than one must."""

from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request

from clustersession.tools.dashboard.http import (
    BODY_BYTES_MAX,
    FIELDS_MAX,
    client_of,
    host_of,
    path_of,
    read_form,
)

FORM = "application/x-www-form-urlencoded"


def request(
    path: str = "/", root: str = "", headers: Iterable[tuple[str, str]] = (), body: bytes = b"",
    **scope: Any,
) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({
        "type": "http", "method": "POST", "path": path, "root_path": root, "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers], **scope,
    }, receive)


async def form(body: bytes, kind: str = FORM) -> dict[str, str] | None:
    return await read_form(request(headers=[("content-type", kind)], body=body))


async def test_a_form_is_read_and_the_first_of_two_values_counts() -> None:
    assert await form(b"token=a+b&id=%41&id=B") == {"token": "a b", "id": "A"}
    assert await form(b"a=1", f"{FORM}; charset=utf-8") == {"a": "1"}


@pytest.mark.parametrize(("body", "kind"), [
    (b"a=1", "text/plain"), (b"a=1", ""), (b"a=" + b"x" * BODY_BYTES_MAX, FORM),
    (b"&".join(b"f%d=1" % n for n in range(FIELDS_MAX + 1)), FORM),
])
async def test_what_is_no_form_or_too_long_is_none(body: bytes, kind: str) -> None:
    assert await form(body, kind) is None


@pytest.mark.parametrize(("path", "root", "below"), [
    ("/nodes", "", "nodes"), ("/", "", ""), ("/admin/nodes", "/admin", "nodes"),
    ("/admin/", "/admin", ""), ("/nodes", "/admin", "/nodes"), ("/administer", "/admin",
                                                                "/administer"),
])
def test_the_path_is_that_below_our_own_root(path: str, root: str, below: str) -> None:
    host = [("host", "evil/login?x=")]
    assert path_of(request(path, root, host)) == below


def test_of_two_hosts_neither_counts() -> None:
    assert host_of(request(headers=[("host", "a")])) == "a"
    assert host_of(request(headers=[("host", "a"), ("host", "b")])) == ""
    assert host_of(request()) == ""


def test_a_client_on_a_unix_socket_has_no_address() -> None:
    assert client_of(request(client=("10.0.0.7", 1))) == "10.0.0.7"
    assert client_of(request(client=None)) == "an unknown address"
