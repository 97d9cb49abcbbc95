"""Keeps the certificate that follows from a secret, and its key, between starts.

Building it costs memory and time that every start of an agent would pay, so what was built once is
kept. It is no secret: every peer is shown it.
"""

import hmac
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from clustersession.core.errors import ReplicaError
from clustersession.replica.replica import Replica
from clustersession.wire.keys import SecretKeys

# RFC 8410, section 7: what stands before the 32 bytes of an Ed25519 key in PKCS #8.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_CODE_BYTES = 32
_PURPOSE = b"clustersession kept certificate 1\x00"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Holds a certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def cluster_certificate(keys: SecretKeys, replica: Replica | None = None) -> Certificate:
    """Return the certificate of a secret: as the replica has kept it, or made anew and kept.

    The note carries a code made with the key, so that neither damage nor another secret's
    certificate is taken for it.
    """
    pem = _kept(keys, replica) if replica is not None else b""
    if not pem:
        from clustersession.net.cluster_certificate_issuing import issue

        pem = issue(keys)
        if replica is not None:
            with suppress(ReplicaError):
                replica.save_note(_note(keys), _code(keys, pem) + pem)
    return Certificate(pem, _key_pem(keys.tls_seed))


def _kept(keys: SecretKeys, replica: Replica) -> bytes:
    note = None
    with suppress(ReplicaError):
        note = replica.load_note(_note(keys))
    code, pem = (note or b"")[:_CODE_BYTES], (note or b"")[_CODE_BYTES:]
    return pem if hmac.compare_digest(code, _code(keys, pem)) else b""


def _note(keys: SecretKeys) -> str:
    return f"certificate {keys.key_id.hex()}"


def _code(keys: SecretKeys, pem: bytes) -> bytes:
    return hmac.digest(keys.tls_seed, _PURPOSE + pem, sha256)


def _key_pem(seed: bytes) -> bytes:
    key = b64encode(_PKCS8 + seed)
    return b"-----BEGIN PRIVATE KEY-----\n" + key + b"\n-----END PRIVATE KEY-----\n"
