"""Settings that cannot work end the start of a worker, with what to change."""

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
