"""What a Host header names, and whether a foreign site may be behind it."""

import pytest

from clustersession.net.host_header import host_name, may_be_of_a_foreign_site


@pytest.mark.parametrize(("host", "name"), [
    ("[::1]:80", "::1"), ("App.Example:443", "app.example"), ("app", "app"), ("", ""),
    ("a/metrics", ""), ("a@b", ""), ("a:x", ""), ("::1", ""), ("a b", ""),
])  # fmt: skip
def test_the_name_without_the_port(host: str, name: str) -> None:
    assert host_name(host) == name


def test_no_site_is_called_by_an_address_or_by_a_name_without_a_dot() -> None:
    for host in ("10.0.0.7:9464", "[fd00::1]:9464", "localhost", "app1:9464", "APP1.shop.internal"):
        assert not may_be_of_a_foreign_site(host, {"app1.shop.internal"}), host
    for host in (
        "evil.example", "127.0.0.1.nip.io:9464", "app1.shop.internal.evil.example", "",
        "evil.example.", "evil.example:9464/metrics", "a.localhost", "1.2.3.4.5",
    ):
        assert may_be_of_a_foreign_site(host, {"app1.shop.internal"}), host
