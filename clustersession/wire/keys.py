"""Derives the keys of a cluster from its secrets.

Everything a node needs to talk to its peers follows from a secret and the cluster name alone, so
that equal configuration on every host is all the setting up there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clustersession.core.derivation import derive
from clustersession.core.errors import ConfigurationError

KEY_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """Holds what one secret yields in one cluster.

    key_id: public name of the secret, 4 bytes; shows which of several secrets sealed a datagram.
    datagram_key: 32 bytes from which the key of each sender's datagrams is derived.
    tls_seed: 32 bytes, the Ed25519 private key of the certificate that all nodes present.
    hello_key: 32 bytes, proves the secret where nodes present other certificates.
    """

    key_id: bytes
    datagram_key: bytes = field(repr=False)
    tls_seed: bytes = field(repr=False)
    hello_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """Holds the keys of all secrets a node knows.

    The first secret seals datagrams and is presented to peers; all of them open datagrams and are
    trusted. To replace a secret without an interruption: give every node the new one as second,
    then as first, then take the old one away.
    """

    secrets: tuple[SecretKeys, ...]

    @classmethod
    def derive(cls, secrets: Sequence[str | bytes], cluster_name: str) -> "ClusterKeys":
        """Derive the keys of secrets, newest first. Raises ConfigurationError for an empty one."""
        if not secrets:
            raise ConfigurationError("the cluster needs a secret: set secret to at least one")
        derived = dict.fromkeys(derive_keys(secret, cluster_name) for secret in secrets)
        return cls(tuple(derived))

    @property
    def first(self) -> SecretKeys:
        """Return the keys to seal with and to present."""
        return self.secrets[0]

    def by_id(self, key_id: bytes) -> SecretKeys | None:
        """Return the keys a peer named, or None when it holds a secret that we do not."""
        for keys in self.secrets:
            if keys.key_id == key_id:
                return keys
        return None


def derive_keys(secret: str | bytes, cluster_name: str) -> SecretKeys:
    """Derive the keys of one secret in the named cluster. Raises ConfigurationError if empty."""
    secret_bytes = secret.encode() if isinstance(secret, str) else secret
    if not secret_bytes:
        raise ConfigurationError("a cluster secret is empty; give at least 16 random characters")
    return SecretKeys(
        key_id=derive(secret_bytes, "key id", cluster_name, KEY_ID_BYTES),
        datagram_key=derive(secret_bytes, "datagram", cluster_name),
        tls_seed=derive(secret_bytes, "tls ed25519 seed", cluster_name),
        hello_key=derive(secret_bytes, "hello", cluster_name),
    )
