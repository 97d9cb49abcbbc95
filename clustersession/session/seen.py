"""Reads and writes the second cookie, ``<cookie_name>_v``: which writes a client has seen.

Never part of the session cookie, which balancers cut, hash and learn. Two responses at once may set
it in either order; then one of two writes goes unnamed, and no session is lost.

The token is signed for one session of one cluster. A node asks its peers because of it, and has the
request wait: nobody is to make it do so by naming writes that never were, or another session's. One
with a wrong signature counts as none, as does one that does not parse.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256

from clustersession.core.identity import NODE_ID_BYTES
from clustersession.core.state import SessionState
from clustersession.session.token import IdSigner
from clustersession.settings.settings import Settings

SUFFIX = "_v"
"""What the name of the second cookie ends in."""

WRITERS_MAX = 8
"""Nodes named in one token; of more, those whose writes are the newest."""

TOKENS_PER_REQUEST_MAX = 3
"""Cookies of that name, of several paths, that are looked at."""

_FORMAT = "1"
_MAC_BYTES = 8
"""A forger can only ask us, and a wait is all there is to win: 2**64 tries are enough."""
_SEQ_BYTES = 6
_ENTRY_BYTES = NODE_ID_BYTES + _SEQ_BYTES
_LENGTH_MAX = len(_FORMAT) + -(-(WRITERS_MAX * _ENTRY_BYTES + _MAC_BYTES) * 8 // 6)
_PATTERN = re.compile(rf"{_FORMAT}([A-Za-z0-9_-]{{1,{_LENGTH_MAX - len(_FORMAT)}}})")


def seen_cookie_name(settings: Settings) -> str:
    """Return the name of the second cookie; empty where nobody needs one."""
    return settings.cookie_name + SUFFIX if settings.consistency == "causal" else ""


class SeenTokens:
    """Makes and reads the tokens of one cluster's sessions, with keys of its ids' signer."""

    def __init__(self, signer: IdSigner) -> None:
        self._keys = signer.keys_for("seen")

    def encode(self, key: str, state: SessionState) -> str:
        """Make the token for a client that has been shown this copy of a session."""
        data = b"".join(
            node + seq.to_bytes(_SEQ_BYTES, "big")
            for node, seq in _newest_writers(state).items()
            if len(node) == NODE_ID_BYTES and 0 < seq < 1 << 8 * _SEQ_BYTES
        )
        signed = data + _mac(self._keys[0], key, data)
        return _FORMAT + urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def decode(self, key: str, tokens: Sequence[str]) -> Mapping[bytes, int]:
        """Return the highest sequence number per node that the first token of a session names.

        Empty where there is none of this session.
        """
        for token in tokens[:TOKENS_PER_REQUEST_MAX]:
            signed = _bytes_of(token)
            data, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
            if data and any(hmac.compare_digest(_mac(k, key, data), mac) for k in self._keys):
                return {
                    data[start : start + NODE_ID_BYTES]: int.from_bytes(
                        data[start + NODE_ID_BYTES : start + _ENTRY_BYTES], "big"
                    )
                    for start in range(0, len(data), _ENTRY_BYTES)
                }
        return {}


def _newest_writers(state: SessionState) -> Mapping[bytes, int]:
    writers = state.versions
    if len(writers) <= WRITERS_MAX:
        return writers
    newest = dict.fromkeys(writers, 0)
    for register in state.registers.values():
        if register.time > newest.get(register.node, register.time):
            newest[register.node] = register.time
    ranked = sorted(writers, key=lambda node: (newest[node], node), reverse=True)
    return {node: writers[node] for node in ranked[:WRITERS_MAX]}


def _mac(mac_key: bytes, key: str, data: bytes) -> bytes:
    # A key has no zero character, so no two (key, data) pairs read the same.
    return hmac.digest(mac_key, key.encode() + b"\x00" + data, sha256)[:_MAC_BYTES]


def _bytes_of(token: str) -> bytes:
    """Return what a token holds, signature and all; nothing for what has not its form."""
    matched = _PATTERN.fullmatch(token)
    # Of four characters one alone cannot stand at the end.
    if matched is None or len(matched[1]) % 4 == 1:
        return b""
    signed = urlsafe_b64decode(matched[1] + "=" * (-len(matched[1]) % 4))
    return signed if len(signed) % _ENTRY_BYTES == _MAC_BYTES else b""
