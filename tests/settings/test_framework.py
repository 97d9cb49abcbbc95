"""A framework's secret key gives the cluster's, and does not get out."""

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.settings.framework import derive_secret


def test_secrets_from_framework_keys() -> None:
    assert derive_secret("key") == derive_secret(b"key")
    assert derive_secret("key") != derive_secret("other")
    assert "key" not in derive_secret("key")
    with pytest.raises(ConfigurationError):
        derive_secret("")
