"""Cookies, form tokens, tickets and host names, without a server."""

import time

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.settings.settings import Settings
from clustersession.tools.dashboard.guard import Guard, is_same_origin


def test_a_cookie_is_good_for_its_time_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, other = Guard("t" * 20), Guard("u" * 20)
    cookie = guard.login_cookie()
    assert guard.is_in(cookie)
    assert Guard("t" * 20).is_in(cookie), "every worker must judge alike"
    assert not other.is_in(cookie)
    assert not Guard().is_in(Guard().login_cookie()), "without a token the key is of one process"
    assert not guard.is_in(guard.form_cookie())
    nonce, at, signature = cookie.split(".")
    later_at = guard.form_cookie().split(".")[1]
    for wrong in (
        f"{nonce}x.{at}.{signature}", f"{nonce}.{later_at}x.{signature}", f"{nonce}.{signature}",
        cookie[:-1], "", ".", "...", "in.x.y.z", "é", "\udcff", cookie + "0",
    ):
        assert not guard.is_in(wrong)
    now = time.time()
    for passed_s, good in ((8 * 3600 - 5, True), (8 * 3600 + 5, False), (-60, False)):
        monkeypatch.setattr(time, "time", lambda at=now + passed_s: at)
        assert guard.is_in(cookie) is good


def test_the_form_cookie_has_a_shorter_life(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard("t" * 20)
    cookie = guard.form_cookie()
    form_token = guard.form_token(cookie)
    assert guard.accepts_form(cookie, form_token)
    later = time.time() + 3605
    monkeypatch.setattr(time, "time", lambda: later)
    assert not guard.accepts_form(cookie, form_token)


def test_a_form_token_belongs_to_its_cookie() -> None:
    guard = Guard()
    mine, yours = guard.login_cookie(), guard.login_cookie()
    assert guard.accepts_form(mine, guard.form_token(mine))
    assert not guard.accepts_form(mine, guard.form_token(yours))
    assert not guard.accepts_form("", guard.form_token(""))
    assert not guard.accepts_form("made.up", guard.form_token("made.up"))
    assert not guard.accepts_form(mine, "")


def test_a_ticket_works_once_and_only_the_last_one() -> None:
    guard = Guard()
    assert not guard.use_ticket("")
    first, second = guard.new_ticket(), guard.new_ticket()
    assert not guard.use_ticket(first)
    assert guard.use_ticket(second)
    assert not guard.use_ticket(second)
    assert not guard.takes_token
    assert not guard.is_token("")
    assert Guard("t" * 20).is_token("t" * 20)
    assert not Guard("t" * 20).is_token("t" * 19)


def test_host_names_and_origins() -> None:
    guard = Guard(hosts=["Admin.example.com", "fd00::1"])
    for good in ("localhost:80", "127.0.0.1", "[::1]:8080", "ADMIN.example.com:443", "[fd00::1]"):
        assert guard.accepts_host(good), good
    for bad in (
        "", "example.com", "127.0.0.1.nip.io", "[::1", "localhost@evil", "a.localhost",
        "localhost/login?", "localhost:80/login?", "localhost:80/login", "localhost?", "localhost#",
        "localhost:", "localhost:80:80", "localhost:x", "localhost ", " localhost", "localhost\n",
        "[::1]/login?", "[::1]:80/login?", "[::1]x", "localhost,evil", "localhost\\", "::1",
    ):
        assert not guard.accepts_host(bad), bad
    assert is_same_origin("a:1", None, None)
    assert is_same_origin("a:1", "http://a:1", "same-origin")
    for origin, site in (
        ("http://a:2", None), ("null", None), ("http://b", "same-origin"), (None, "cross-site"),
    ):
        assert not is_same_origin("a:1", origin, site)


@pytest.mark.parametrize("wrong", [
    {"dashboard_token": "short"}, {"dashboard_hosts": ("http://a",)}, {"dashboard_hosts": ("a:1",)},
    {"dashboard_token": "s" * 32, "secret": ("s" * 32,)},
])
def test_settings_are_judged_and_the_token_never_shown(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**wrong)  # type: ignore[arg-type]
    (name,) = [name for name in wrong if name != "secret"]
    assert name in str(refused.value)
    assert "short" not in str(refused.value)
    assert "s" * 32 not in str(refused.value)
