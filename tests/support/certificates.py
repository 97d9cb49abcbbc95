"""A private certificate authority for tests, and the files of a node that has its certificate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NO_HASH: HashAlgorithm | None = None  # Ed25519 brings its own


class Authority:
    """Makes certificates below a directory of its own."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = name
        self._key = Ed25519PrivateKey.generate()
        self.ca_path = directory / f"{name}.pem"
        certificate = self._certificate(name, self._key, is_ca=True)
        self.ca_path.write_bytes(certificate)

    def files(self, name: str) -> dict[str, str]:
        """The three settings of one node; each call with a new name makes a certificate."""
        key = Ed25519PrivateKey.generate()
        certificate_path = self._directory / f"{self._name}-{name}.pem"
        key_path = self._directory / f"{self._name}-{name}.key"
        certificate_path.write_bytes(self._certificate(name, key, is_ca=False))
        key_path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return {
            "tls_certificate": str(certificate_path),
            "tls_key": str(key_path),
            "tls_ca": str(self.ca_path),
        }

    def _certificate(self, name: str, key: Ed25519PrivateKey, *, is_ca: bool) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        return builder.sign(self._key, NO_HASH).public_bytes(Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
