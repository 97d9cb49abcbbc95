"""A TLS handshake in memory."""

import ssl

from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.wire.keys import ClusterKeys


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> ssl.SSLObject:
    """Run a handshake in memory and return the server's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return server


def contexts(*secrets: str) -> TlsContexts:
    return tls_contexts(ClusterKeys.derive(secrets, "shop"))
