"""Who owns a session when its own node is gone: rendezvous hashing, agreed without talking.

Balancers spray a dead node's sessions over all survivors, so survivors that each claimed the
session would fight over its route. Every node scores (key, route) the same way and picks the
highest; when a member goes, only its sessions move (Thaler and Ravishankar, 1996).
"""

from collections.abc import Iterable
from hashlib import blake2b


def owner(key: str, routes: Iterable[str]) -> str | None:
    """The route that owns the session among ``routes``, or None when there are none."""
    return max(routes, key=lambda route: (_score(key, route), route), default=None)


def _score(key: str, route: str) -> bytes:
    return blake2b(f"{key}\x00{route}".encode(), digest_size=8).digest()
