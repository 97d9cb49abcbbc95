"""A private certificate authority for tests, and the files of a node that has its certificate."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_SIGNS = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
    encipher_only=False, decipher_only=False,
)  # fmt: skip
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

    def files(self, name: str, address: str = "") -> dict[str, str]:
        """The three settings of one node; each call with a new name makes a certificate.

        address: the IP address of a server that clients check.
        """
        key = Ed25519PrivateKey.generate()
        certificate_path = self._directory / f"{self._name}-{name}.pem"
        key_path = self._directory / f"{self._name}-{name}.key"
        certificate_path.write_bytes(self._certificate(name, key, is_ca=False, address=address))
        key_path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return {
            "tls_certificate": str(certificate_path),
            "tls_key": str(key_path),
            "tls_ca": str(self.ca_path),
        }

    def _certificate(
        self, name: str, key: Ed25519PrivateKey, *, is_ca: bool, address: str = ""
    ) -> bytes:
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
        # Without these OpenSSL's strict checks, which Python 3.13 has on, trust none.
        mine = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(mine, critical=False).add_extension(theirs, critical=False)
        if is_ca:
            builder = builder.add_extension(_SIGNS, critical=True)
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, NO_HASH).public_bytes(Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
