"""What the readers of other stores make of bytes, and of sources that are not there."""

import json
import pickle

import msgpack
import pytest

from clustersession.tools.migration.old_stores import (
    ImportFailed,
    _decode_flask,
    _decode_json,
    _Unreadable,
    source_of,
)


@pytest.mark.parametrize("data", [
    b"", b"\xff", b"[1]", b"\x93\x01\x02\x03", b"\x80\x05.", b'{"a":', b"[" * 100_000,
    b"\xdf\xff\xff\xff\xff", b"\x91" * 5000, b"\x81\xc1\x01", pickle.dumps([1]),
])
def test_hostile_bytes_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(_Unreadable):
        _decode_flask(data)


def test_formats_are_told_apart() -> None:
    data = {"a": 1, "b": ["c"]}
    for encoded in (msgpack.packb(data), pickle.dumps(data), json.dumps(data).encode()):
        assert _decode_flask(encoded) == data
    assert _decode_flask(msgpack.packb({})) == {}
    assert _decode_json(b'{"a": 1, "__metadata__": {"created": 1}}') == {"a": 1}


@pytest.mark.parametrize(("kind", "source"), [
    ("starsessions", "/tmp"), ("flask-session", "http://x"), ("django", "mysql://"),
])
def test_a_source_that_cannot_be_is_refused_with_what_can(kind: str, source: str) -> None:
    with pytest.raises(ImportFailed, match="redis://"):
        source_of(kind, source, None)


def test_the_name_of_a_source_holds_no_password() -> None:
    assert "hunter2" not in source_of("django", "redis://:hunter2@h/0", None)[1]


def test_a_redis_that_is_not_there_is_one_clear_error() -> None:
    found, _ = source_of("django", "redis://127.0.0.1:1/0", None)
    with pytest.raises(ImportFailed, match="check address"):
        next(found)


def test_a_directory_that_is_not_there_is_one_clear_error() -> None:
    found, _ = source_of("flask-session", "/nonexistent", None)
    with pytest.raises(ImportFailed, match="give the directory"):
        next(found)


@pytest.mark.parametrize("source", ["redis:/:hunter2@h/0", "rediss:h", "unix:/run/redis.sock"])
def test_a_url_with_a_slash_too_few_is_no_directory(source: str) -> None:
    with pytest.raises(ImportFailed, match="give a Redis URL such as redis://") as caught:
        source_of("flask-session", source, None)
    assert "hunter2" not in str(caught.value)
