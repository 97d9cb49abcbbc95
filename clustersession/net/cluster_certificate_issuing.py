"""Builds the cluster's own certificate: the same bytes on every node with the secret.

It is not in ``wire`` because it needs calendar dates. And building one pulls in a large part of
``cryptography``, four megabytes and as much time as a sixth of an agent's start, that nobody else
needs: see ``cluster_certificate``.
"""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clustersession.wire.keys import SecretKeys

# A certificate that could expire would take the whole cluster down at once, and a host with a wrong
# clock would be locked out; what ends the trust is taking the secret away.
_NOT_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SERIAL = 1


def issue(keys: SecretKeys) -> bytes:
    """Build the self-signed certificate of a secret; equal input gives equal bytes."""
    private_key = Ed25519PrivateKey.from_private_bytes(keys.tls_seed)
    public_key = private_key.public_key()
    # The name differs per secret: with one name for all, chain building could pick the wrong one of
    # two trusted certificates and fail on its signature.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"clustersession {keys.key_id.hex()}")]
    )
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(_SERIAL)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        # Python 3.13 verifies strictly by default: a trust anchor must say that it is one.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier),
            critical=False,
        )
        .add_extension(_KEY_USAGE, critical=True)
    )
    return builder.sign(private_key, algorithm=None).public_bytes(Encoding.PEM)


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
