"""Proves by a hello that its sender holds the secret, where the handshake cannot show it.

With certificates of one's own the handshake only proves that a peer has one of that authority. So
each hello carries a code made with a key from the secret. It covers the certificates that both
ends showed: whoever sits in between with a certificate of his own can pass a hello on, but the
other end sees his certificate and expects another code. Nothing has to be fresh, because a code is
worth something only to those who hold the private keys of the two certificates it names.
"""

import hmac
from hashlib import sha256

from clustersession.core.errors import WireError
from clustersession.wire.keys import ClusterKeys, SecretKeys

PROOF_BYTES = 32


class HelloProof:
    """Adds the proof to our hellos and checks that of the peers.

    ``own_certificate`` is the one we show, ``peer_certificate`` the one seen on the connection;
    both DER.
    """

    def __init__(self, keys: ClusterKeys, own_certificate: bytes) -> None:
        self._keys = keys
        self._own = sha256(own_certificate).digest()

    def add(self, hello: bytes, peer_certificate: bytes, *, we_dialled: bool) -> bytes:
        """Return the hello with our proof in front."""
        peer = sha256(peer_certificate).digest()
        ends = (self._own, peer) if we_dialled else (peer, self._own)
        return _code(self._keys.first, we_dialled, ends, hello) + hello

    def check(self, data: bytes, peer_certificate: bytes, *, we_dialled: bool) -> bytes:
        """Return the peer's hello without its proof. Raises WireError when the proof is wrong."""
        proof, hello = data[:PROOF_BYTES], data[PROOF_BYTES:]
        peer = sha256(peer_certificate).digest()
        ends = (self._own, peer) if we_dialled else (peer, self._own)
        for keys in self._keys.secrets:
            if hmac.compare_digest(proof, _code(keys, not we_dialled, ends, hello)):
                return hello
        raise WireError("its secret or cluster name is another (hello)")


def _code(
    keys: SecretKeys, from_dialler: bool, ends: tuple[bytes, bytes], hello: bytes
) -> bytes:
    """Compute the code of a hello; ``ends``: hashes of the dialler's and the other certificate."""
    side = b"dialler" if from_dialler else b"answerer"
    return hmac.digest(keys.hello_key, b"\x00".join((side, ends[0] + ends[1] + hello)), "sha256")
