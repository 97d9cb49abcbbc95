"""Exchanges the cookie of the store that an application used before for ours, once.

``clustersession import`` writes each live session of the old store as a *record*: an ordinary
session under a key that no cookie can name, made of a hash of the old id. Streams, snapshots and
anti-entropy carry it like any other. A request that brings the old cookie, and no authentic one of
ours, opens the record; its commit writes the session under an id of ours and ends the record.

The new id follows from the record's key and the cluster's secret. So requests that bring the old
cookie at the same time, on any nodes, come to one session and not to one each; and once that
session has ended nobody can create it again, whatever a node that was cut off still holds. An end
is terminal: neither the old cookie nor another import brings back what has been exchanged.

For ``ROTATION_GRACE_MS`` after the exchange the old cookie still leads to the session: a browser
sends several requests at once, and a node may die before its answer is out. Not so when the
application gave the session another id (``rotate``), as at a login: then whoever knows the old
cookie has nothing, and a request with it is as outdated as one with the id from before.

With a store a record may be on another host alone, or have left this one, so a record that is not
here is asked for.
"""

from collections.abc import Callable, Iterable
from hashlib import md5, sha256

from itsdangerous import BadSignature, Signer

from clustersession.core.ids import KEY_LENGTH
from clustersession.core.state import SessionState, expires_ms
from clustersession.replica.replica import Replica
from clustersession.session.authentic import Candidate
from clustersession.session.cookie import CookieWriter
from clustersession.session.lifetimes import is_live, was_just_replaced
from clustersession.session.outcome import Outcome
from clustersession.session.token import IdSigner
from clustersession.session.visit import IMPORTED_PREFIX, Visit
from clustersession.settings.settings import Settings

OLD_ID_LENGTH_MIN = 16
"""Old ids that are shorter could be guessed; they are neither imported nor looked for."""

OLD_ID_LENGTH_MAX = 256
_FLASK_SESSION_SALT = "flask-session"
_FILES_PREFIX = "session:"
_HASH_DIGITS = 32


def record_key(old_id: str) -> str:
    """Return the key of the record of an old session."""
    digest = sha256(b"clustersession imported\x00" + old_id.encode())
    return IMPORTED_PREFIX + digest.hexdigest()[:_HASH_DIGITS]


def record_key_of_file(file_name: str) -> str:
    """Return the same for a store of files, of which only a hash of the id is known."""
    return record_key(f"file:{file_name}")


def _keys(old_id: str) -> tuple[str, ...]:
    """Return the keys under which the record of an old id may stand.

    In Flask-Session's files cachelib hashes the id, behind the key prefix that is the default;
    with SHA-256, and older versions with MD5.
    """
    name = f"{_FILES_PREFIX}{old_id}".encode()
    files = sha256(name).hexdigest(), md5(name, usedforsecurity=False).hexdigest()
    return (record_key(old_id), *(record_key_of_file(file) for file in files))


class LegacyCookies:
    """Reads the old cookie, and says when it is to go."""

    def __init__(
        self, settings: Settings, replica: Replica, signer: IdSigner, wall_ms: Callable[[], int]
    ) -> None:
        self._name = settings.legacy_cookie_name
        self._has_store = bool(settings.store)
        self._replica = replica
        self._signer = signer
        self._wall_ms = wall_ms
        # With our own cookie's name, setting that one replaces the old one.
        same_name = self._name == settings.cookie_name
        self._deletion = None if same_name else CookieWriter(settings, self._name).delete()
        self._signers = [
            Signer(secret, salt=_FLASK_SESSION_SALT, key_derivation="hmac")
            for secret in settings.legacy_cookie_secret
        ]

    def adopt(self, visit: Visit, old_values: Iterable[str]) -> None:
        """Let a session that has nothing behind it stand for the record of the old cookie.

        A client with an authentic id of ours has been exchanged or has begun anew: his old cookie
        is only noted, so that a logout takes it away. ``old_values``: of that cookie.
        """
        for value in old_values:
            old_id = self._id_in(value)
            if old_id is None:
                continue
            keys = _keys(old_id)
            for key in keys:
                state = self._replica.get(key)
                if state is None:
                    continue
                visit.legacy = key
                if visit.client is None and self._open(visit, key, state):
                    return
            if self._has_store and not visit.legacy:
                self._look_elsewhere(visit, keys)

    def answer(self, visit: Visit, outcome: Outcome) -> Outcome:
        """Take the old cookie away when its session was exchanged or ended in this request."""
        if self._deletion is None or visit.mute or not visit.legacy:
            return outcome
        gone = visit.removed if visit.key is None else not visit.stands_for_record
        if not gone:
            return outcome
        return outcome._replace(vary=True, delete_legacy_cookie=self._deletion)

    def _look_elsewhere(self, visit: Visit, keys: tuple[str, ...]) -> None:
        if visit.client is None:
            visit.candidates += tuple(
                Candidate(self._signer.derive(key), key, None) for key in keys
            )
            visit.missing = True
        else:
            # Nobody waits for what only a logout needs: that takes the cookie away.
            visit.legacy = keys[0]

    def _open(self, visit: Visit, key: str, state: SessionState) -> bool:
        now_ms = self._wall_ms()
        identifier = self._signer.derive(key)
        if state.ended is None:
            if now_ms > expires_ms(state):
                return False
            if visit.context.cluster.contact.is_apart():
                # It may have been exchanged on a peer meanwhile.
                visit.candidates = (Candidate(identifier, key, None),)
                visit.missing = True
            else:
                visit.attach_record(identifier, key, state)
            return True
        successor = identifier[:KEY_LENGTH]
        current = self._replica.get(successor)
        recent = was_just_replaced(state, now_ms)
        if recent and current is not None and is_live(current, now_ms):
            visit.attach(identifier, successor, current)
            return True
        # A login has moved the record at once, or the session that it had become.
        visit.note_outdated(state if current is None else current, now_ms)
        return False

    def _id_in(self, value: str) -> str | None:
        text = value.strip('"')
        if self._signers:
            for signer in self._signers:
                try:
                    text = signer.unsign(text).decode()
                    break
                except (BadSignature, UnicodeError):
                    continue
            else:
                return None
        if not text.isascii() or not OLD_ID_LENGTH_MIN <= len(text) <= OLD_ID_LENGTH_MAX:
            return None
        return text


def legacy_cookies(
    settings: Settings, replica: Replica, signer: IdSigner, wall_ms: Callable[[], int]
) -> LegacyCookies | None:
    """Make what reads the old cookie; None where none is named."""
    if not settings.legacy_cookie_name:
        return None
    return LegacyCookies(settings, replica, signer, wall_ms)


__all__ = [
    "OLD_ID_LENGTH_MIN", "LegacyCookies", "legacy_cookies", "record_key", "record_key_of_file",
]
