"""One opening for all adapters: which ids a request brings, and how its client may be told one."""

from collections.abc import Mapping
from typing import Any

import pytest

from clustersession.requests.opening import RequestOpener
from clustersession.session.legacy import record_key
from clustersession.session.visit import Visit
from clustersession.settings.settings import Settings
from clustersession.worker.runtime import Runtime
from tests.session.fakes import World

Request = Mapping[str, str]


def opener_of(**options: Any) -> RequestOpener[Request]:
    return RequestOpener(
        Runtime(Settings(**options)), lambda request: request.get("Cookie", ""),
        lambda request, name: request.get(name),
    )


def opened(world: World, request: Request, path: str = "/", **options: Any) -> Any:
    return opener_of(**options).open(world.manager, request, path, notes={})


def session_of(visit: Visit | None) -> Any:
    return None if visit is None else visit.session


def test_the_cookie_is_read_as_text_and_as_it_came() -> None:
    world = World()
    cookie = f"other=1; CLUSTERSESSION={world.store(a=1)}"
    assert opened(world, {"Cookie": cookie}).session == {"a": 1}
    raw: RequestOpener[bytes] = RequestOpener(
        Runtime(Settings()), lambda r: r, lambda r, name: None
    )
    assert session_of(raw.open(world.manager, cookie.encode(), "/", notes={})) == {"a": 1}


def test_a_path_that_is_excluded_has_no_session_whatever_it_brings() -> None:
    world = World()
    cookie = {"Cookie": f"CLUSTERSESSION={world.store(a=1)}"}
    world.replica.gets.clear()
    assert opened(world, cookie, "/style.css", exclude=(r".*\.css",)) is None
    assert opened(world, cookie, "/page", exclude=(r".*\.css",)).session == {"a": 1}
    assert len(world.replica.gets) == 1


@pytest.mark.parametrize(("request_headers", "by_cookie", "by_header"), [
    ({}, True, True),
    ({"X-Session": ""}, False, True),
    ({"X-Session": "", "Cookie": "CLUSTERSESSION=x"}, True, True),
    ({"Cookie": "other=1"}, True, False),
    ({"Sec-Fetch-Site": "cross-site"}, True, False),
    ({"Sec-Fetch-Site": ""}, True, False),
    ({"Sec-Fetch-Site": "none", "X-Session": ""}, False, True),
])  # fmt: skip
def test_who_is_told_in_the_header(
    request_headers: Request, by_cookie: bool, by_header: bool
) -> None:
    """No page of a browser may read in a header what the cookie hides from it."""
    visit = opened(World(), request_headers, header_name="X-Session")
    assert (visit.by_cookie, visit.by_header) == (by_cookie, by_header)


def test_without_the_setting_no_header_is_looked_at() -> None:
    world = World()
    value = world.store(a=1)
    visit = opened(world, {"X-Session": value})
    assert visit.session == {}
    assert (visit.by_cookie, visit.by_header) == (True, False)


def test_the_id_may_come_in_the_header_and_in_the_path() -> None:
    world = World()
    value = world.store(a=1)
    assert opened(world, {"X-Session": value}, header_name="X-Session").session == {"a": 1}
    opener = opener_of(url_parameter="sid")
    assert opener.url_parameter is not None
    path, found = opener.url_parameter.split(f"/cart;sid={value}")
    assert session_of(opener.open(world.manager, {}, path, found, notes={})) == {"a": 1}
    assert opener_of().url_parameter is None


def test_ids_are_named_whether_they_are_authentic_or_not() -> None:
    opener = opener_of(header_name="X-Session")
    request = {"Cookie": "CLUSTERSESSION=one; CLUSTERSESSION=two", "X-Session": "three"}
    assert opener.ids_of(request) == ("one", "two", "three")
    assert opener.ids_of({}) == ()


def test_the_old_cookie_is_looked_for_where_it_is_named() -> None:
    world = World(legacy_cookie_name="old")
    old = "an old id that is long enough"
    request = {"Cookie": f"old={old}"}
    opened(world, request)
    assert record_key(old) not in world.replica.gets
    opened(world, request, legacy_cookie_name="old")
    assert record_key(old) in world.replica.gets


def test_what_the_client_has_seen_is_in_the_second_cookie() -> None:
    world = World(consistency="causal")
    value = world.store(a=1)
    seen = world.commit(_written(world, value)).set_seen_cookie
    assert seen is not None
    request = {"Cookie": f"CLUSTERSESSION={value}; {seen.partition(';')[0]}"}
    assert opened(world, request, consistency="causal").seen
    assert not opened(world, request).seen


@pytest.mark.parametrize("clearing_ends", [True, False])
def test_whether_clear_is_a_logout_is_the_frameworks_word(clearing_ends: bool) -> None:
    world = World()
    value = world.store(a=1)
    opener: RequestOpener[str] = RequestOpener(
        Runtime(Settings()), lambda r: r, lambda r, name: None, clearing_ends=clearing_ends
    )
    session = session_of(opener.open(world.manager, f"CLUSTERSESSION={value}", "/", notes={}))
    session.clear()
    assert (session.sid is None) is clearing_ends


def _written(world: World, value: str) -> Any:
    session = world.open([value])
    session["b"] = 2
    return session
