"""Reading and writing the cookie."""

from hypothesis import given
from hypothesis import strategies as st

from clustersession.session.cookie import VALUES_MAX, CookieWriter, cookie_values
from clustersession.settings.settings import Settings


def test_all_values_of_the_name_in_order() -> None:
    header = "a=1; S=one.x; XS=no; S=two.y;S = odd; S=three"
    assert cookie_values(header, "S") == ["one.x", "two.y", "three"]
    assert cookie_values("", "S") == []
    assert cookie_values("s=1; SS=2", "S") == []


@given(st.text())
def test_any_header_is_read_without_error(header: str) -> None:
    assert len(cookie_values(header + "; S=1" * 20, "S")) <= VALUES_MAX


def test_flags() -> None:
    writer = CookieWriter(
        Settings(
            cookie_name="__Host-S", cookie_secure=True, cookie_samesite="none",
            cookie_partitioned=True,
        )
    )
    assert writer.assign("v.a", 0) == (
        "__Host-S=v.a; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    )
    assert "; Max-Age=60; " in writer.assign("v.a", 60)
    assert writer.delete().startswith("__Host-S=; Max-Age=0; Expires=Thu, 01 Jan 1970")
    assert writer.delete().endswith("; Path=/; Secure; HttpOnly; SameSite=None; Partitioned")


def test_few_flags() -> None:
    settings = Settings(
        cookie_httponly=False, cookie_samesite="", cookie_path="/app",
        cookie_domain="example.org",
    )
    assert CookieWriter(settings).assign("v", 0) == (
        "CLUSTERSESSION=v; Path=/app; Domain=example.org"
    )
