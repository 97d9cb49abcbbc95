"""Reads and writes the second cookie, ``<cookie_name>_v``: which writes a client has seen.

Never part of the session cookie, which balancers cut, hash and learn. Two responses at once may set
it in either order; then one of two writes goes unnamed, and no session is lost.

Nobody signs the token, so nothing rests on it but a bounded wait: a forged one makes its own client
wait, and one that does not parse counts as none.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from clustersession.core.identity import NODE_ID_BYTES
from clustersession.core.state import SessionState
from clustersession.settings.settings import Settings

SUFFIX = "_v"
"""What the name of the second cookie ends in."""

WRITERS_MAX = 8
"""Nodes named in one token; of more, those whose writes are the newest."""

_FORMAT = "1"
_SEQ_BYTES = 6
_ENTRY_BYTES = NODE_ID_BYTES + _SEQ_BYTES
_LENGTH_MAX = len(_FORMAT) + -(-WRITERS_MAX * _ENTRY_BYTES * 8 // 6)
_PATTERN = re.compile(rf"{_FORMAT}([A-Za-z0-9_-]{{1,{_LENGTH_MAX - len(_FORMAT)}}})")


def seen_cookie_name(settings: Settings) -> str:
    """Return the name of the second cookie; empty where nobody needs one."""
    return settings.cookie_name + SUFFIX if settings.consistency == "causal" else ""


def encode_seen(state: SessionState) -> str:
    """Make the token for a client that has been shown this copy."""
    writers = state.versions
    if len(writers) > WRITERS_MAX:
        newest = dict.fromkeys(writers, 0)
        for register in state.registers.values():
            if register.time > newest.get(register.node, register.time):
                newest[register.node] = register.time
        ranked = sorted(writers, key=lambda node: (newest[node], node), reverse=True)
        writers = {node: writers[node] for node in ranked[:WRITERS_MAX]}
    data = b"".join(
        node + seq.to_bytes(_SEQ_BYTES, "big")
        for node, seq in writers.items()
        if len(node) == NODE_ID_BYTES and 0 < seq < 1 << 8 * _SEQ_BYTES
    )
    return _FORMAT + urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_seen(token: str) -> Mapping[bytes, int]:
    """Return the highest sequence number per node that a token names; empty for no token."""
    matched = _PATTERN.fullmatch(token)
    if matched is None:
        return {}
    text = matched[1]
    # Of four characters one alone cannot stand at the end.
    if len(text) % 4 == 1:
        return {}
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) % _ENTRY_BYTES:
        return {}
    return {
        data[start : start + NODE_ID_BYTES]: int.from_bytes(
            data[start + NODE_ID_BYTES : start + _ENTRY_BYTES], "big"
        )
        for start in range(0, len(data), _ENTRY_BYTES)
    }
