"""Reads the sessions of other stores: Flask-Session, Django, starsessions.

Each reader yields what it finds, one session at a time: an ``OldSession``, or a ``Refused`` with a
reason that people can act on. Nothing is written to the old store, and no pickle is ever loaded
(see ``plain_pickle``). What the bytes hold is not trusted: it may be anything.
"""

import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from clustersession.core.errors import ClusterSessionError
from clustersession.session.legacy import OLD_ID_LENGTH_MIN, record_key, record_key_of_file
from clustersession.tools.migration.plain_pickle import NotPlain, read_plain_pickle

VALUE_BYTES_MAX = 8 * 2**20
_BATCH = 200
_COUNT_FILE_BYTES_MAX = 40
_DJANGO_SALT = "django.contrib.sessions.SessionStore"
_METADATA = "__metadata__"

REDIS_PREFIXES = {
    "flask-session": "session:",
    "django": ":1:django.contrib.sessions.cache",
    "starsessions": "starsessions.",
}
"""What the keys begin with unless the application says otherwise."""


class ImportFailed(ClusterSessionError):
    """The old store cannot be read; the message says what to change."""


class OldSession(NamedTuple):
    """Is a session of another store: where its record stands here, its data, when it expires."""

    key: str
    values: dict[Any, Any]
    expires_ms: int | None


class Refused(NamedTuple):
    """Names a session that is not taken, and why. ``key``: of its record, where that is known."""

    reason: str
    key: str = ""


class _Unreadable(ValueError):
    """These bytes are no session; the message says why."""


Found = Iterator[OldSession | Refused]


def source_of(kind: str, source: str, prefix: str | None) -> tuple[Found, str]:
    """Find the reader for what is named, and the store's name without passwords.

    Raises ImportFailed.
    """
    scheme, divider, rest = source.partition("://")
    if divider and scheme in ("redis", "rediss", "unix"):
        name = f"{kind} {scheme} {rest.rpartition('@')[2]} {prefix}"
        return read_redis(kind, source, prefix), name
    if kind == "django" and source == "database":
        return read_django_database(), f"{kind} database"
    if not divider and kind != "starsessions" and not _is_broken_url(source):
        directory = Path(source).absolute()
        if kind == "django":
            return read_django_files(directory, prefix), f"{kind} {directory}"
        return read_flask_files(directory), f"{kind} {directory}"
    raise ImportFailed(
        f"{kind} sessions cannot be read from there; give a Redis URL such as "
        "redis://127.0.0.1:6379/0"
        + ("" if kind == "starsessions" else ", a directory")
        + (", or the word database" if kind == "django" else "")
    )


def _is_broken_url(source: str) -> bool:
    """Tell whether a URL is meant, which has no :// and may have a password."""
    return source.startswith(("redis:", "rediss:", "unix:"))


def read_redis(kind: str, url: str, prefix: str | None) -> Found:
    """Read every session in a Redis database. Raises ImportFailed."""
    try:
        import redis
    except ImportError:
        raise ImportFailed(
            "reading Redis takes its client: pip install 'clustersession[import]'"
        ) from None
    begins = (REDIS_PREFIXES[kind] if prefix is None else prefix).encode()
    decode = {"flask-session": _decode_flask, "django": _decode_pickled}.get(kind, _decode_json)
    pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in begins) + b"*"
    try:
        with redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5) as client:
            batch: list[bytes] = []
            for name in client.scan_iter(match=pattern, count=500):
                batch.append(name)
                if len(batch) >= _BATCH:
                    yield from _read_batch(client, batch, len(begins), decode)
                    batch = []
            yield from _read_batch(client, batch, len(begins), decode)
    except (redis.RedisError, ValueError, OSError) as error:
        raise ImportFailed(
            f"Redis cannot be read: {error}; check address, database number and password of the "
            "URL, redis://[:password@]host:port/database"
        ) from None


def _read_batch(
    client: Any, names: list[bytes], skipped: int, decode: Callable[[bytes], dict[Any, Any]]
) -> Found:
    if not names:
        return
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.type(name).strlen(name).pttl(name)
    facts = pipeline.execute(raise_on_error=False)
    now_ms = time.time_ns() // 1_000_000
    for number, name in enumerate(names):
        kind, size, left_ms = facts[3 * number : 3 * number + 3]
        if left_ms == -2:
            continue  # expired while we looked
        old_id = name[skipped:].decode("utf-8", "replace")
        if kind != b"string":
            yield Refused("the Redis key holds no text; check --prefix")
        elif size > VALUE_BYTES_MAX:
            yield Refused(f"larger than {VALUE_BYTES_MAX} bytes", record_key(old_id))
        else:
            data = client.get(name)
            if data is not None:
                expires_ms = now_ms + left_ms if left_ms >= 0 else None
                yield _session(old_id, data, expires_ms, decode)


def _session(
    old_id: str, data: bytes, expires_ms: int | None, decode: Callable[[bytes], dict[Any, Any]]
) -> OldSession | Refused:
    key = record_key(old_id)
    if not old_id.isascii():
        return Refused("its id is no text that a cookie can hold; check --prefix", key)
    if len(old_id) < OLD_ID_LENGTH_MIN:
        return Refused(f"its id has less than {OLD_ID_LENGTH_MIN} characters, it can be guessed")
    try:
        return OldSession(key, decode(data), expires_ms)
    except _Unreadable as error:
        return Refused(str(error), key)


def read_flask_files(directory: Path) -> Found:
    """Read every session of Flask-Session's files, which cachelib wrote. Raises ImportFailed."""
    for path in _files(directory):
        if len(path.name) not in (32, 64) or not all(c in "0123456789abcdef" for c in path.name):
            continue
        data = _read_file(path)
        if data is None:
            continue
        key = record_key_of_file(path.name)
        try:
            (expires_s,) = struct.unpack("I", data[:4])
            values = _decode_pickled(data[4:])
        except struct.error:
            yield Refused("no file of cachelib", key)
        except _Unreadable as error:
            # One file of each directory holds the number of files.
            if len(data) > _COUNT_FILE_BYTES_MAX:
                yield Refused(str(error), key)
        else:
            yield OldSession(key, values, expires_s * 1000 or None)


def read_django_files(directory: Path, prefix: str | None) -> Found:
    """Read every session of Django's file backend. Raises ImportFailed."""
    settings = _django()
    begins = settings.SESSION_COOKIE_NAME if prefix is None else prefix
    for path in _files(directory):
        if not path.name.startswith(begins):
            continue
        data = _read_file(path)
        if data is None:
            continue
        found = _session(path.name[len(begins) :], data, None, _decode_django)
        if isinstance(found, OldSession):
            expires_ms = _django_expiry_ms(found.values, path, settings.SESSION_COOKIE_AGE)
            found = found._replace(expires_ms=expires_ms)
        yield found


def read_django_database() -> Found:
    """Read every live session of Django's database, cached_db too. Raises ImportFailed."""
    _django()
    from django.contrib.sessions.models import Session
    from django.db import DatabaseError
    from django.utils import timezone

    try:
        rows = Session.objects.filter(expire_date__gt=timezone.now()).values_list(
            "session_key", "session_data", "expire_date"
        )
        for old_id, data, expires in rows.iterator(chunk_size=_BATCH):
            expires_ms = round(expires.timestamp() * 1000)
            yield _session(old_id, data.encode(), expires_ms, _decode_django)
    except (DatabaseError, RuntimeError) as error:
        raise ImportFailed(
            f"the sessions in the database cannot be read: {error}; 'django.contrib.sessions' has "
            "to be in INSTALLED_APPS until the import is done"
        ) from None


def _django() -> Any:
    """Load the project's settings, which DJANGO_SETTINGS_MODULE names."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise ImportFailed(
            "set DJANGO_SETTINGS_MODULE to the project's settings, and run this where manage.py is"
        )
    try:
        import django
        from django.conf import settings

        django.setup()
    except Exception as error:  # whatever a project's settings raise
        raise ImportFailed(
            f"the Django project cannot be loaded: {type(error).__name__}: {error}; run this where "
            "manage.py is, with PYTHONPATH=. and DJANGO_SETTINGS_MODULE as the application has it"
        ) from None
    return settings


def _django_expiry_ms(values: dict[Any, Any], path: Path, age_s: int) -> int:
    expiry = values.get("_session_expiry")
    if isinstance(expiry, str):
        try:
            return round(datetime.fromisoformat(expiry).timestamp() * 1000)
        except ValueError:
            pass
    lasts_s = expiry if type(expiry) is int and expiry > 0 else age_s
    return round((path.stat().st_mtime + lasts_s) * 1000)


def _files(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            yield from (Path(e.path) for e in entries if e.is_file(follow_symlinks=False))
    except OSError as error:
        raise ImportFailed(
            f"{directory} cannot be read: {error.strerror}; give the directory of the old sessions"
        ) from None


def _read_file(path: Path) -> bytes | None:
    """Read a file, as far as shows that it is too large; None when it has just gone."""
    try:
        with path.open("rb") as file:
            return file.read(VALUE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read: {error.strerror}; run this as the user of the application"
        ) from None


def _decode_flask(data: bytes) -> dict[Any, Any]:
    try:
        value = msgpack.unpackb(data, strict_map_key=False, timestamp=3)
    except Exception:  # msgpack has many, and ValueError is only their most frequent base
        if data[:1] in (b"\x80", b"(", b"}"):
            return _decode_pickled(data)
        return _decode_json(data)
    return _dict(value)


def _decode_pickled(data: bytes) -> dict[Any, Any]:
    if len(data) > VALUE_BYTES_MAX:
        raise _Unreadable(f"larger than {VALUE_BYTES_MAX} bytes")
    if data[:1] in (b"\x78", b"!"):
        raise _Unreadable("compressed or in cachelib's Redis form, which is not read")
    try:
        return _dict(read_plain_pickle(data))
    except NotPlain as error:
        raise _Unreadable(
            f"a pickle that holds more than plain data, and pickles are not loaded ({error})"
        ) from None


def _decode_json(data: bytes) -> dict[Any, Any]:
    try:
        values = _dict(json.loads(data))
    except (ValueError, RecursionError):
        raise _Unreadable("not in a format that Flask-Session, Django or starsessions write") from (
            None
        )
    values.pop(_METADATA, None)
    return values


def _decode_django(data: bytes) -> dict[Any, Any]:
    from django.core import signing

    try:
        return _dict(signing.loads(data.decode("ascii"), salt=_DJANGO_SALT))
    except signing.BadSignature:
        raise _Unreadable(
            "its signature does not fit SECRET_KEY and SECRET_KEY_FALLBACKS of these settings"
        ) from None
    except Exception:  # of PickleSerializer, or of one's own
        raise _Unreadable("not JSON: another SESSION_SERIALIZER wrote it") from None


def _dict(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise _Unreadable("no session: its data is not a mapping")
    return value
