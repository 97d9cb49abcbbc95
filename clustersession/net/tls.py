"""Makes the contexts of TLS 1.3: both sides show the cluster's certificate and trust only that.

Host names play no part: a node is who holds the secret, wherever it runs. With certificates of the
operator's own the handshake shows no secret; then the hellos have to, by a ``HelloProof``.
"""

import ssl
from dataclasses import dataclass

from clustersession.net.cluster_certificate import Certificate, cluster_certificate
from clustersession.net.operator_certificates import OperatorCertificates
from clustersession.net.private_file import private_file
from clustersession.replica.replica import Replica
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.proof import HelloProof


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """Holds what both ends of a link need: contexts, and the proof in hellos (None: not needed)."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    proof: HelloProof | None = None


def tls_contexts(
    keys: ClusterKeys,
    operator: OperatorCertificates | None = None,
    replica: Replica | None = None,
) -> TlsContexts:
    """Make contexts that present the first secret's certificate and trust those of all secrets.

    With certificates of the ``operator``, they present and trust those instead.
    ``replica``: keeps certificates that were built once.
    """
    if operator is not None:
        server = operator.context(ssl.PROTOCOL_TLS_SERVER)
        server.num_tickets = 0
        proof = HelloProof(keys, operator.leaf)
        return TlsContexts(server, operator.context(ssl.PROTOCOL_TLS_CLIENT), proof)
    certificates = [cluster_certificate(secret, replica) for secret in keys.secrets]
    server = _context(ssl.PROTOCOL_TLS_SERVER, certificates)
    # Links live long; tickets would only be bytes that nobody resumes from.
    server.num_tickets = 0
    return TlsContexts(server, _context(ssl.PROTOCOL_TLS_CLIENT, certificates))


def _context(protocol: int, certificates: list[Certificate]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(
        cadata="".join(certificate.certificate_pem.decode() for certificate in certificates)
    )
    own = certificates[0]
    with private_file(own.certificate_pem + own.key_pem) as path:
        context.load_cert_chain(path)
    return context
