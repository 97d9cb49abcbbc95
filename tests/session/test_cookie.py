"""Writing the cookie."""

from clustersession.session.cookie import CookieWriter
from clustersession.settings.settings import Settings


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
