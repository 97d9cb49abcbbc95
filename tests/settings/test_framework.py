"""A framework's secret key gives the cluster's, and does not get out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clustersession.core.errors import ConfigurationError
from clustersession.settings.framework import derive_secret, our_names


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


def test_the_line_that_docs_make_of_a_key_is_the_secret() -> None:
    page = Path("docs/operations/move.md").read_text(encoding="utf-8")
    [program] = re.findall(r'^`python -c "(.*)"`$', page, re.MULTILINE)
    key = "qT8w-Lz3Rk5_vN0xYb7d"
    made = subprocess.run(
        [sys.executable, "-c", program], input=f"{key}\n", text=True, capture_output=True,
        check=True, start_new_session=True, timeout=60,
    )
    assert made.stdout.splitlines() == [f"CLUSTERSESSION_SECRET={derive_secret(key)}"]


def test_a_store_is_the_text_of_a_url_or_an_object_of_starsessions() -> None:
    assert our_names({"store": "valkey://db"}).given == {"store": "valkey://db"}
    with pytest.raises(ConfigurationError, match="store"):
        our_names({"store": object()})
