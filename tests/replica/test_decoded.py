"""Nothing remembered is stale, and what is remembered stays bounded."""

import pytest

from clustersession.core.state import Register, SessionState
from clustersession.replica import decoded as module
from clustersession.replica import tables
from clustersession.replica.decoded import DecodedRecords

NODE = b"nodenode"


def record(value: bytes) -> bytes:
    state = SessionState(1000, 1000, 9000, {"a": Register(1, NODE, 1, value)}, {NODE: 1})
    return tables.encode_record(1, 9000, 7, state)


def value_of(state: SessionState | None) -> bytes | None:
    assert state is not None
    return state.registers["a"].value


def test_the_same_bytes_are_decoded_once_and_others_anew() -> None:
    records = DecodedRecords()
    first = records.state_of("key", record(b"1"))
    assert records.state_of("key", record(b"1")) is first
    # Another process has written meanwhile.
    assert value_of(records.state_of("key", record(b"2"))) == b"2"
    assert value_of(records.state_of("key", record(b"1"))) == b"1"


def test_what_does_not_decode_is_not_remembered() -> None:
    records = DecodedRecords()
    assert records.state_of("key", record(b"1")[:-1]) is None
    assert value_of(records.state_of("key", record(b"1"))) == b"1"


def test_what_is_asked_for_again_and_again_stays_and_the_rest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RECORDS_MAX", 10)
    records = DecodedRecords()
    favourite = records.state_of("favourite", record(b"1"))
    for number in range(100):
        records.state_of(f"key{number}", record(b"2"))
        assert records.state_of("favourite", record(b"1")) is favourite
    assert len(records._recent) + len(records._before) <= 20


def test_a_huge_record_is_not_kept() -> None:
    records, huge = DecodedRecords(), record(b"x" * (module.RECORD_BYTES_MAX + 1))
    assert records.state_of("key", huge) is not records.state_of("key", huge)
