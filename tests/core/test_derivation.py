"""What is derived from a secret: as RFC 5869 says, other for each purpose and each cluster."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.derivation import derive


@given(st.binary(min_size=1, max_size=200), st.integers(1, 32))
def test_it_is_hkdf(secret: bytes, length: int) -> None:
    known = HKDF(SHA256(), length, b"clustersession keys 1", b"hello\0shop").derive(secret)
    assert derive(secret, "hello", "shop", length) == known


def test_purposes_and_clusters_are_apart() -> None:
    secret = b"a secret of this test"
    found = {
        derive(secret, purpose, name)
        for purpose in ("hello", "datagram") for name in ("shop", "bank", "")
    }
    assert len(found) == 6
