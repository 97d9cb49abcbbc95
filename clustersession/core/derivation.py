"""Derives keys and names from a secret, each for one purpose in one cluster.

Knowing what was derived for one purpose tells nothing about another or about the secret, apart from
the possibility to try out guesses; hence a secret must not be guessable.
"""

import hmac
from hashlib import sha256

DERIVED_BYTES_MAX = 32
_SALT = b"clustersession keys 1"


def derive(
    secret: bytes, purpose: str, cluster_name: str, length: int = DERIVED_BYTES_MAX
) -> bytes:
    """Derive ``length`` bytes for one purpose in one cluster."""
    # Purposes have no zero byte, so no two (purpose, name) pairs read the same.
    return hkdf(secret, _SALT, f"{purpose}\0{cluster_name}".encode())[:length]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return DERIVED_BYTES_MAX bytes: the first block of HKDF-SHA-256, RFC 5869.

    Written out here, because a worker needs nothing else of ``cryptography``, and under mod_wsgi a
    second interpreter of a process cannot import that package.
    """
    extracted = hmac.digest(salt, secret, sha256)
    return hmac.digest(extracted, info + b"\x01", sha256)
