"""A framework's secret key gives the cluster's, and does not get out."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clustersession.core.errors import ConfigurationError
from clustersession.settings.framework import derive_secret


def test_secrets_from_framework_keys() -> None:
    assert derive_secret("key") == derive_secret(b"key")
    assert derive_secret("key") != derive_secret("other")
    assert "key" not in derive_secret("key")
    with pytest.raises(ConfigurationError):
        derive_secret("")


def test_the_secret_is_that_of_hkdf() -> None:
    """Made here and not by cryptography, which only one interpreter of a process can import."""
    for key in (b"qT8w-Lz3Rk5_vN0xYb7d", bytes(range(0, 200, 3))):
        info = b"from the framework's secret key"
        kdf = HKDF(SHA256(), 32, b"clustersession secret 1", info)
        assert derive_secret(key) == kdf.derive(key).hex()
