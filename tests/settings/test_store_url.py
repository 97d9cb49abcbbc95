"""URLs of stores are read, or refused with what to write; a password shows nowhere."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.settings.store_url import StoreKind, StoreUrl, parse_store_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valkey://h", StoreUrl(kind=StoreKind.SINGLE, addresses=(("h", 6379),))),
        ("redis://h:1/2", StoreUrl(kind=StoreKind.SINGLE, addresses=(("h", 1),), db=2)),
        ("VALKEYS://[::1]:1/", StoreUrl(kind=StoreKind.SINGLE, addresses=(("::1", 1),), tls=True)),
        (
            "rediss://u%40:p%2F%25%C3%BC@10.0.0.1?ca=/ca.pem&certificate=/c&key=/k",
            StoreUrl(
                kind=StoreKind.SINGLE, addresses=(("10.0.0.1", 6379),), tls=True, user="u@",
                password="p/%ü", ca="/ca.pem", certificate="/c", key="/k",
            ),
        ),
        (
            "unix://:p@/run/valkey.sock?db=3",
            StoreUrl(
                kind=StoreKind.SINGLE, addresses=(("/run/valkey.sock", 0),), password="p", db=3
            ),
        ),
        (
            "valkey+sentinel://a,b:1/my-primary/4?sentinel_password=x",
            StoreUrl(
                kind=StoreKind.SENTINEL, addresses=(("a", 26379), ("b", 1)), primary="my-primary",
                db=4, sentinel_password="x",
            ),
        ),
        (
            "rediss+cluster://u:p@a,b:1?password_file=/run/p",
            StoreUrl(
                kind=StoreKind.CLUSTER, addresses=(("a", 6379), ("b", 1)), tls=True, user="u",
                password="p", password_file="/run/p",
            ),
        ),
        (
            "valkey://u@h?password_file=/run/p",
            StoreUrl(
                kind=StoreKind.SINGLE, addresses=(("h", 6379),), user="u", password_file="/run/p"
            ),
        ),
    ],
)  # fmt: skip
def test_urls(text: str, expected: StoreUrl) -> None:
    found = parse_store_url(text)
    assert found == expected
    assert "password='p" not in repr(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("h:6379", "it has no ://; write valkey://"),
        ("redis:/h", "it has no ://; write valkey://"),
        ("http://h", "http:// names no store; write valkey://"),
        ("unix+cluster:///s", "unix+cluster:// names no store; write valkey://"),
        ("u:p4://ss@h", "what stands before its :// names no store; write valkey://"),
        ("valkey://", "a host is missing"),
        ("valkey+cluster://a,,b", "a host is missing"),
        ("valkey://h:", "without one it is 6379"),
        ("valkey+sentinel://h:port/m", "without one it is 26379"),
        ("valkey://h:port:1", "port of 1 to 65535"),
        ("valkey://h:0", "port of 1 to 65535"),
        ("valkey://h:70000", "port of 1 to 65535"),
        ("valkey://::1:6379", "in brackets"),
        ("valkey://p4ss@h", "before the @ stand user:password"),
        ("valkey://u:p4/ss@h@i/x", "a database"),
        ("valkey://a,b", "several hosts need valkey+sentinel:// or valkey+cluster://"),
        ("valkey://h/zero", "the number of a database"),
        ("valkey://h/1?db=1", "twice"),
        ("valkey://h?ca=/x", "write valkeys:// instead"),
        ("valkeys://h?ca=x", "ca must be an absolute path"),
        ("valkeys://h?key=/x", "both or not at all"),
        ("valkey://h?timeout=3", "after the ? may stand, once each: ca, certificate"),
        ("valkey://h?db=1&db=2", "once each"),
        ("valkey://h?db", "name=value"),
        ("valkey://h?sentinel_user=x", "are for valkey+sentinel:// alone"),
        ("valkey+sentinel://h", "the name that they watch the primary by"),
        ("valkey+sentinel://h/0/mymaster", "the number of a database"),
        ("valkey+cluster://h/1", "a Cluster has database 0 alone"),
        ("unix://run/s", "the absolute path of a socket"),
    ],
)
def test_what_is_wrong_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_store_url(text)
    assert "p4" not in str(caught.value)


@given(st.text() | st.text(st.sampled_from("valkey+sunixcluterd:/@?=&%[],0159")))
def test_no_other_error_comes_of_any_text(text: str) -> None:
    for url in (text, f"valkey://{text}", f"valkey+sentinel://{text}", f"unix:///{text}"):
        try:
            parse_store_url(url)
        except ValueError:
            pass


def test_addresses_are_written_as_people_write_them() -> None:
    for text, written in (
        ("valkey://h", "h:6379"), ("valkey://[::1]", "[::1]:6379"), ("unix:///s", "/s")
    ):
        assert str(parse_store_url(text).addresses[0]) == written


@pytest.mark.parametrize(("url", "where"), [
    ("valkey://ann:p4ssword@host/3", "host:6379"),
    ("unix://:p4ssword@/run/valkey.sock", "/run/valkey.sock"),
    ("valkey+cluster://ann:p4ssword@a,b:7000", "the Cluster of a:6379, b:7000"),
    ("valkey+sentinel://ann:p4ssword@a,b/main?sentinel_password=p4ssword2",
     "main of the Sentinels a:26379, b:26379"),
])
def test_where_it_is_can_be_told_to_people(url: str, where: str) -> None:
    assert parse_store_url(url).where == where
