"""Names the keys of one cluster in a store, and the slots that a Valkey Cluster has them in.

All begin with the name of the cluster, which has no colon, so that a store can serve several, and
an ACL rule can allow one of them. What is in braces decides the slot: one session is one slot, and
so are the index of a user and the record of his revocation, and everything that nodes tell of
themselves.
"""

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16_384


class StoreKeys:
    """Makes the names of keys, and finds the session that a name belongs to."""

    def __init__(self, cluster_name: str) -> None:
        self.prefix = f"clustersession:{cluster_name}:"
        nodes = f"{self.prefix}n:{{n}}:"
        self.members = f"{nodes}members".encode()
        self.memory = f"{nodes}memory".encode()
        self.pulse = f"{nodes}pulse".encode()
        self.edition = f"{nodes}edition".encode()
        self._cursor = f"{nodes}cursor:".encode()
        self._carried = f"{nodes}carried:".encode()
        self.sessions = f"{self.prefix}s:".encode()
        self._session = self.sessions + b"{"
        self._user = f"{self.prefix}u:{{".encode()

    @property
    def pattern(self) -> str:
        """Return what an ACL rule has to allow."""
        return f"{self.prefix}*"

    def session(self, key: str) -> bytes:
        """Name the hash of a session."""
        return b"%b%b}" % (self._session, key.encode("utf-8", "surrogatepass"))

    def session_of(self, name: bytes) -> str | None:
        """Return the session that a name belongs to; None for another key's."""
        if not name.startswith(self._session) or not name.endswith(b"}"):
            return None
        try:
            return name[len(self._session) : -1].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None

    def index(self, user: bytes) -> bytes:
        """Name the index of a user's sessions. ``user``: his tag, see ``store.users``."""
        return b"%b%b}:sessions" % (self._user, user.hex().encode())

    def revocation(self, user: bytes) -> bytes:
        """Name the hash with the record of a user's revocation."""
        return b"%b%b}:revoked" % (self._user, user.hex().encode())

    def is_revocation(self, name: bytes) -> bool:
        """Tell whether a name is that of a record of a revocation."""
        return name.startswith(self._user) and name.endswith(b"}:revoked")

    def cursor(self, node: bytes) -> bytes:
        """Name what is kept of how far the store has a node's feed."""
        return self._cursor + node.hex().encode()

    def carried(self, node: bytes) -> bytes:
        """Name what is kept of how far a node's workers have carried its feed."""
        return self._carried + node.hex().encode()


def slot_of(name: bytes) -> int:
    """Return the slot of a key, as all servers of a Cluster work it out."""
    begin = name.find(b"{")
    end = name.find(b"}", begin + 1)
    if 0 <= begin < end - 1:
        name = name[begin + 1 : end]
    # The checksum that Cluster's specification names: CRC-16 of XMODEM.
    return crc_hqx(name, 0) % SLOTS
