"""Makes and verifies ids: a key character, 128 random bits, a signature over both.

A forged id is told from a real one without a lookup, and "authentic but not here" from "never
existed", which is what lets a node ask its peers without being made an amplifier. The store and the
wire only ever see the first part, the key, which is no usable cookie.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256

from itsdangerous import Signer
from itsdangerous.signer import HMACAlgorithm

from clustersession.core.derivation import derive
from clustersession.core.errors import ConfigurationError
from clustersession.core.ids import ID_LENGTH, KEY_LENGTH

RANDOM_BYTES = 16
_MAC_BYTES = 12
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SALT = b"clustersession.id"


class _ShortHMAC(HMACAlgorithm):
    """Is HMAC cut to 96 bits: 16 characters, and a forger who can only ask us needs 2**96 tries."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return super().get_signature(key, value)[:_MAC_BYTES]


def id_signer(secrets: Sequence[str], cluster_name: str) -> "IdSigner":
    """Make the signer of a cluster's ids; two clusters with one secret refuse each other's."""
    return IdSigner([derive(secret.encode(), "session id", cluster_name) for secret in secrets])


class IdSigner:
    """Makes and verifies session ids with one or more keys; the first one signs."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ConfigurationError("the id signer needs at least one key")
        self._signers: dict[str, list[Signer]] = {}
        for key in keys:
            character = _key_character(key)
            self._signers.setdefault(character, []).append(_signer(key))
        self._character = _key_character(keys[0])
        self._derivation_key = sha256(_SALT + b".derived\x00" + keys[0]).digest()
        self._roots = tuple(sha256(_SALT + b".keys\x00" + key).digest() for key in keys)

    def mint(self, random16: bytes) -> str:
        """Make a new id from 16 random bytes."""
        if len(random16) != RANDOM_BYTES:
            raise ValueError(f"a session id takes {RANDOM_BYTES} random bytes")
        key = self._character + urlsafe_b64encode(random16)[:22].decode("ascii")
        return key + self._signers[self._character][0].get_signature(key).decode("ascii")

    def derive(self, label: str) -> str:
        """Make the id that belongs to a label: the same from everybody who has the first key."""
        return self.mint(hmac.digest(self._derivation_key, label.encode(), sha256)[:RANDOM_BYTES])

    def keys_for(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key for one purpose from each secret; the first signs, all of them verify."""
        return tuple(hmac.digest(root, purpose.encode(), sha256) for root in self._roots)

    def key_of(self, identifier: str) -> str | None:
        """Return the key of an authentic id; None when forged or its secret retired."""
        if len(identifier) != ID_LENGTH or not identifier.isascii():
            return None
        key, signature = identifier[:KEY_LENGTH], identifier[KEY_LENGTH:]
        for signer in self._signers.get(identifier[0], ()):
            if signer.verify_signature(key, signature):
                return key
        return None


def _key_character(key: bytes) -> str:
    return _ALPHABET[sha256(_SALT + b".key-character\x00" + key).digest()[0] & 63]


def _signer(key: bytes) -> Signer:
    return Signer(
        key, salt=_SALT, key_derivation="hmac", digest_method=sha256,
        algorithm=_ShortHMAC(sha256),
    )
