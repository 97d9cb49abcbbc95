"""Settings that cannot work end the start of a worker, with what to change."""

import dataclasses
from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.settings.settings import Settings
from clustersession.worker.completion import complete

SECRET = ("qT8w-Lz3Rk5_vN0xYb7d",)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_what_was_given_stays_and_the_rest_is_worked_out() -> None:
    given = Settings(distributable=True, route="web1", bind="127.0.0.1", secret=SECRET)
    assert complete(given) == given
    found = complete(Settings())
    assert found.route
    assert found.secret
    assert complete(Settings()).secret == found.secret, "workers of one user agree"


def test_a_node_that_others_reach_needs_a_secret() -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        complete(Settings(distributable=True, bind="192.0.2.1"))
    assert complete(Settings(distributable=True, bind="127.0.0.1")).secret


def test_certificates_that_are_not_there_are_named_at_the_deployment(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("tls_certificate", "tls_key", "tls_ca")}
    with pytest.raises(ConfigurationError, match="tls_"):
        complete(Settings(distributable=True, bind="127.0.0.1", secret=SECRET, **files))
    # Whoever replicates to nobody shows no certificate.
    complete(Settings(secret=SECRET, **files))


def test_an_address_for_all_interfaces_has_to_be_told_apart() -> None:
    settings = Settings(
        distributable=True, bind="0.0.0.0", secret=SECRET, advertise="192.0.2.7",
    )
    assert complete(settings).advertise == "192.0.2.7"


@pytest.mark.parametrize("secret", [(), ("password12345678",)])
def test_a_store_that_others_reach_needs_a_secret_that_nobody_guesses(
    secret: tuple[str, ...],
) -> None:
    settings = Settings(distributable=True, secret=secret, store="valkey://:p4ssw0rd@192.0.2.1")
    with pytest.raises(ConfigurationError, match=r"a store is set, and .* secret") as caught:
        complete(settings)
    assert "p4ssw0rd" not in str(caught.value) + repr(settings)
    for local in ("unix:///run/valkey.sock", "valkey://127.0.0.1"):
        assert complete(dataclasses.replace(settings, store=local)).secret


def test_beside_a_store_nobody_looks_for_what_leads_to_peers(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("tls_certificate", "tls_key", "tls_ca")}
    complete(Settings(
        distributable=True, bind="127.0.0.1", secret=SECRET, store="valkey://192.0.2.1",
        seeds=("192.0.2.2:4000",), **files,
    ))
