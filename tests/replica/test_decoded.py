"""Nothing remembered is stale, and what is remembered stays bounded."""

import tracemalloc

import pytest

from clustersession.core.state import Register, SessionState
from clustersession.replica import decoded as module
from clustersession.replica import tables
from clustersession.replica.decoded import DecodedRecords
from clustersession.session.stored import stored_attributes

NODE = b"nodenode"


def record(value: bytes) -> bytes:
    state = SessionState(1000, 1000, 9000, {"a": Register(1, NODE, 1, value)}, {NODE: 1})
    return tables.encode_record(1, 9000, 7, state)


def record_of_many(attributes: int, number: int) -> bytes:
    registers = {
        f"name{n}": Register(10**15 + n, NODE, 1000 + n, b"%04d" % n) for n in range(attributes)
    }
    state = SessionState(1000, 1000, 9000, registers, {NODE: 10_000 + number})
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
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 20_000)
    records = DecodedRecords()
    favourite = records.state_of("favourite", record(b"1"))
    for number in range(100):
        records.state_of(f"key{number}", record(b"2"))
        assert records.state_of("favourite", record(b"1")) is favourite
    assert len(records._recent) + len(records._before) <= 20


def test_the_sessions_of_2000_active_users_stay_also_while_they_are_written() -> None:
    records = DecodedRecords()
    held = [records.state_of(f"key{n}", record(b"x" * 200)) for n in range(2000)]
    for _ in range(10):
        for number, state in enumerate(held):
            assert state is not None
            records.note(f"key{number}", record(b"x" * 200), state)
    for number, state in enumerate(held):
        assert records.state_of(f"key{number}", record(b"x" * 200)) is state


def test_large_records_take_the_place_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    records, large = DecodedRecords(), record(b"x" * 16_000)
    for number in range(1000):
        records.state_of(f"key{number}", large)
    kept = [*records._recent.values(), *records._before.values()]
    assert sum(len(data) for data, *_ in kept) * 4 <= 2 * module.CACHE_BYTES_MAX


def test_of_large_records_the_last_one_is_kept() -> None:
    records, large = DecodedRecords(), record(b"x" * (module.RECORD_BYTES_MAX + 1))
    first = records.state_of("key", large)
    assert records.state_of("key", large) is first
    records.state_of("other", large)
    assert records.state_of("key", large) is not first


def test_a_large_record_is_met_only_by_its_very_bytes() -> None:
    records = DecodedRecords()
    values = [letter * (module.RECORD_BYTES_MAX + 1) for letter in (b"x", b"y")]
    found = [value_of(records.state_of("key", record(value))) for value in (*values, values[0])]
    assert found == [*values, values[0]]


def test_a_huge_record_is_not_kept() -> None:
    records, huge = DecodedRecords(), record(b"x" * (module.LARGE_RECORD_BYTES_MAX + 1))
    assert records.state_of("key", huge) is not records.state_of("key", huge)


def test_many_small_attributes_count_for_what_they_take() -> None:
    records = DecodedRecords()
    data = [record_of_many(300, number) for number in range(50)]
    tracemalloc.start()
    try:
        for number, each in enumerate(data):
            state = records.state_of(f"key{number}", each)
            assert state is not None
            stored_attributes(state)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * taken_bytes < records._recent_bytes < 2 * taken_bytes


def test_a_record_that_grows_huge_leaves_nothing_older_behind() -> None:
    records, huge = DecodedRecords(), record(b"x" * (module.RECORD_BYTES_MAX + 1))
    records.state_of("key", record(b"1"))
    records.state_of("key", huge)
    assert records.newest("key") is None
    assert records._recent_bytes == 0
