"""Names users in the store, so that nobody who reads it can compare a name with guesses.

A user's tag there is an HMAC of the tag that replicas have, under a key that follows from the
secret. While a secret takes the place of another one, a user has two tags: what is kept under
either is read, and the first secret's is written.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from clustersession.core.derivation import derive
from clustersession.core.revocation import revocation_key
from clustersession.store.keys import StoreKeys

USER_TAG_BYTES: Final = 16
NAMES_MAX: Final = 20_000


class UserNames:
    """Names the keys of users. ``tag`` is that of ``core.revocation.principal_tag``."""

    def __init__(self, keys: StoreKeys, secrets: Sequence[bytes], cluster_name: str) -> None:
        self._keys = keys
        self._tag_keys = [derive(secret, "store users", cluster_name) for secret in secrets]
        # By their names in the store, the records that were asked for: no name leads back to its
        # user. At most NAMES_MAX.
        self._records: dict[bytes, str] = {}

    def indexes(self, tag: bytes) -> list[bytes]:
        """Name a user's index under each secret, the first of which is written."""
        return [self._keys.index(user) for user in self._tags(tag)]

    def revocations(self, tag: bytes) -> list[bytes]:
        """Name the record of a user's revocation likewise, and remember whose it is."""
        if len(self._records) >= NAMES_MAX:
            self._records.clear()
        names = [self._keys.revocation(user) for user in self._tags(tag)]
        self._records.update(dict.fromkeys(names, revocation_key(tag)))
        return names

    def record_of(self, name: bytes) -> str | None:
        """Return the record that a name belongs to; None when that is forgotten."""
        return self._records.get(name)

    def _tags(self, tag: bytes) -> list[bytes]:
        return [hmac.digest(key, tag, sha256)[:USER_TAG_BYTES] for key in self._tag_keys]
