"""Loads certificates that the operator gave, instead of those derived from the secret.

This is apart from ``cluster_certificate``, because every worker process checks the files at its
start and has no other use for the part of ``cryptography`` that deals with certificates.
"""

import re
import ssl
from dataclasses import dataclass, field

from clustersession.core.errors import ConfigurationError
from clustersession.net.private_file import private_file
from clustersession.settings.settings import Settings

_PEM_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class OperatorCertificates:
    """Holds what stood in the three files.

    chain: this node's certificate, and intermediate ones if any; PEM.
    key: its private key, PEM, without a password.
    authority: the certificates that peers' must come from, PEM.
    leaf: this node's certificate, DER.
    """

    chain: bytes
    key: bytes = field(repr=False)
    authority: str
    leaf: bytes

    @classmethod
    def read(
        cls, certificate_path: str, key_path: str, authority_path: str
    ) -> "OperatorCertificates":
        """Read and try the files. Raises ConfigurationError that names the setting at fault."""
        chain = _read("tls_certificate", certificate_path)
        key = _read("tls_key", key_path)
        authority = _certificates("tls_ca", authority_path, _read("tls_ca", authority_path))
        leaf = _certificates("tls_certificate", certificate_path, chain)[0]
        try:
            found = cls(chain, key, "\n".join(authority) + "\n", ssl.PEM_cert_to_DER_cert(leaf))
        except ValueError as error:
            raise _wrong("tls_certificate", certificate_path, str(error)) from None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found.authority)
        except (ssl.SSLError, ValueError) as error:
            raise _wrong("tls_ca", authority_path, _reason(error)) from None
        try:
            found.context(ssl.PROTOCOL_TLS_CLIENT)
        except (ssl.SSLError, ValueError) as error:
            raise _wrong(
                "tls_key", key_path,
                f"it must be the key of tls_certificate, PEM without a password: {_reason(error)}",
            ) from None
        return found

    def context(self, protocol: int) -> ssl.SSLContext:
        """Make a context for TLS 1.3 that shows our certificate and trusts that authority only."""
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # Nodes are found by address, and any node may be at any address.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        # The operator may trust an intermediate authority only, and not the root above it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.authority)
        with private_file(self.chain + b"\n" + self.key) as path:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(path, password="")
        return context


def operator_certificates(settings: Settings) -> OperatorCertificates | None:
    """Return the certificates that the settings name, or None when they follow from the secret.

    Raises ConfigurationError that names the setting at fault.
    """
    if not settings.tls_certificate:
        return None
    return OperatorCertificates.read(settings.tls_certificate, settings.tls_key, settings.tls_ca)


def _read(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _wrong(setting, path, f"it cannot be read: {error.strerror}") from None


def _certificates(setting: str, path: str, content: bytes) -> list[str]:
    found = _PEM_CERTIFICATE.findall(content.decode("latin-1"))
    if not found:
        raise _wrong(setting, path, "it holds no certificate in PEM form")
    return found


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _wrong(setting: str, path: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{setting} is {path!r}; {what}")
