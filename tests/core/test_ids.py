"""Cookies split the same way for every balancer, and any host name gives a legal route."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.ids import (
    ID_LENGTH,
    ROUTE_LENGTH_MAX,
    derive_route,
    is_route,
    join_cookie,
    split_cookie,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
identifiers = st.text(f"{ALPHABET}-", min_size=ID_LENGTH, max_size=ID_LENGTH)
routes = st.text(ALPHABET, min_size=1, max_size=ROUTE_LENGTH_MAX)
ID = "x" * ID_LENGTH


@given(identifiers, routes)
def test_a_cookie_splits_into_what_it_was_joined_from(identifier: str, route: str) -> None:
    value = join_cookie(identifier, route)
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_]{1,32}", value)
    assert split_cookie(value) == (identifier, route)
    assert split_cookie(f'"{value}"') == (identifier, route)


@given(st.text(max_size=80))
def test_any_text_splits_or_is_refused(value: str) -> None:
    split = split_cookie(value)
    assert split is None or len(split[0]) == ID_LENGTH


@pytest.mark.parametrize(
    "value", ["", ".", "node", ID[1:], f"{ID}x", f"{ID[1:]}é.node", f"{ID}\n", f" {ID}.node"]
)
def test_no_id_is_read_from_what_has_none(value: str) -> None:
    assert split_cookie(value) is None


@pytest.mark.parametrize(
    "tail", ["", ".", ".a.b", ".a-b", ".a b", ".é", f".{'r' * 33}", ".node\n", ".."]
)
def test_a_malformed_route_does_not_cost_the_id(tail: str) -> None:
    assert split_cookie(ID + tail) == (ID, None)


@given(st.text(max_size=80))
def test_a_route_derived_from_any_host_name_is_legal(host_name: str) -> None:
    assert is_route(derive_route(host_name))


@pytest.mark.parametrize(
    ("host_name", "route"),
    [
        ("tomcat1", "tomcat1"),
        ("web-6d4cf56db6-abcde.prod.example", "web_6d4cf56db6_abcde"),
        ("", "node"),
        (".hidden", "node"),
        ("a" * 40 + "-7", "a" * 30 + "_7"),
    ],
)
def test_a_route_keeps_what_tells_hosts_apart(host_name: str, route: str) -> None:
    assert derive_route(host_name) == route
