"""Is the note of whom workers may send their changes to directly, which the agent leaves them."""

from contextlib import suppress
from typing import NamedTuple

from clustersession.core.identity import Address

DIRECT_NOTE = "direct"


class DirectPeer(NamedTuple):
    """Is a peer that takes changes from our workers, and where."""

    node: bytes
    address: Address


class DirectPeers(NamedTuple):
    """Says who takes changes directly from the workers of a node.

    own: the node id for which this was found out; what was written under another one is not meant.
    peers: the one that is asked first comes first. everybody: no other node keeps a copy.
    """

    own: bytes
    peers: tuple[DirectPeer, ...]
    everybody: bool

    def encode(self) -> bytes:
        """Encode as it stands in the replica's notes. An address holds no blank and no slash."""
        words = [f"{node.hex()}/{port}/{host}" for node, (host, port) in self.peers]
        return " ".join([self.own.hex(), "all" if self.everybody else "some", *words]).encode()

    @classmethod
    def decode(cls, data: bytes | None) -> "DirectPeers":
        """Decode what the agent wrote last; what cannot be read names nobody.

        Further lines are of a later version.
        """
        with suppress(ValueError):
            text = (data or b"").decode("ascii").partition("\n")[0]
            own, extent, *words = text.split(" ")
            peers = tuple(_peer(*word.split("/", 2)) for word in words)
            return cls(bytes.fromhex(own), peers, extent == "all")
        return NOBODY


def _peer(node: str, port: str = "", host: str = "") -> DirectPeer:
    return DirectPeer(bytes.fromhex(node), Address(host, int(port)))


NOBODY = DirectPeers(b"", (), False)
