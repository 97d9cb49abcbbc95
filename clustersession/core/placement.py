"""Says which nodes keep a session, and which one owns it when its own node is gone.

Both are worked out alike by every node that knows the same members; nobody is asked.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b


def holders(key: str, members: Sequence[bytes]) -> Sequence[bytes]:
    """Return those of the members, by node id, that keep a copy of a session: at present all.

    This is the one place to change for fewer copies. Whoever asks may rely on this: the answer is a
    part of the members in the order given, never empty while there are members, the same on every
    node that knows the same members, and the same for all keys of one bucket (``core.digest``),
    because anti-entropy compares whole buckets.
    """
    return members


def owner(key: str, routes: Iterable[str]) -> str | None:
    """Return the route that owns the session among ``routes``, or None when there are none.

    Balancers spray a dead node's sessions over all survivors, so survivors that each claimed the
    session would fight over its route. By rendezvous hashing (Thaler and Ravishankar, 1996) each
    scores (key, route) the same way and picks the highest; when a member goes, only its sessions
    move.
    """
    return max(routes, key=lambda route: (_score(key, route), route), default=None)


def _score(key: str, route: str) -> bytes:
    return blake2b(f"{key}\x00{route}".encode(), digest_size=8).digest()
