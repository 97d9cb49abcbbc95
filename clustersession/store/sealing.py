"""Seals names and values of attributes, so that who owns the store can read none and forge none.

AES-SIV (RFC 5297), which gives the same bytes for the same register: hosts that send a register
again change nothing in the store, and nobody is told of a change that is none. Session, name and
stamp are bound to the value. The name stands in the sealed part; in its place the store has a tag
of it, by which writes of one attribute meet. Of a value the store learns its length.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from clustersession.core.derivation import derive
from clustersession.core.errors import WireError
from clustersession.store.form import SealedByOthers

KEY_ID_BYTES = 4
TAG_BYTES = 16
_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class _Keys:
    """Holds what one secret yields for stores.

    key_id: says which secret sealed a register, in clear. name_key: makes tags of names.
    """

    key_id: bytes
    name_key: bytes = field(repr=False)
    cipher: AESSIV = field(repr=False)


class SealedNames:
    """Implements ``form.Names`` with the secrets of the cluster, of which the first one seals."""

    def __init__(self, secrets: Sequence[bytes], cluster_name: str) -> None:
        self._keys = {}
        for secret in secrets:
            halves = (derive(secret, f"store values {half}", cluster_name) for half in (1, 2))
            keys = _Keys(
                derive(secret, "store key id", cluster_name, KEY_ID_BYTES),
                derive(secret, "store names", cluster_name),
                AESSIV(b"".join(halves)),
            )
            self._keys[keys.key_id] = keys
        self._first = next(iter(self._keys.values()))

    def seal(self, key: str, stamp: bytes, name: str, value: bytes | None) -> tuple[bytes, bytes]:
        """Return the tag of the name, and name and value sealed."""
        keys, name_bytes = self._first, name.encode("utf-8", "surrogatepass")
        tag = _tag(keys, key, name_bytes)
        plain = len(name_bytes).to_bytes(_LENGTH_BYTES, "big") + name_bytes + (value or b"")
        sealed = keys.cipher.encrypt(plain, [key.encode(), tag, stamp])
        return tag, keys.key_id + sealed

    def open(self, key: str, stamp: bytes, sealed: bytes, value: bytes) -> tuple[str, bytes | None]:
        """Return name and value of a register. Raises WireError for what none of our secrets made.

        ``sealed`` is the tag of the name, ``value`` what ``seal`` made of both. SealedByOthers: a
        secret that is not ours has.
        """
        keys = self._keys.get(value[:KEY_ID_BYTES])
        if keys is None:
            raise SealedByOthers("a value in the store that another secret has sealed")
        try:
            plain = keys.cipher.decrypt(value[KEY_ID_BYTES:], [key.encode(), sealed, stamp])
        except (InvalidTag, ValueError):
            raise WireError("a value in the store that is forged or damaged") from None
        length = int.from_bytes(plain[:_LENGTH_BYTES], "big")
        name = plain[_LENGTH_BYTES : _LENGTH_BYTES + length]
        content = plain[_LENGTH_BYTES + length :]
        return name.decode("utf-8", "surrogatepass"), content if stamp[48:] == b"1" else None


def _tag(keys: _Keys, key: str, name: bytes) -> bytes:
    # With the session, so that nobody sees which sessions have an attribute in common.
    return hmac.digest(keys.name_key, key.encode() + b"\0" + name, sha256)[:TAG_BYTES]
