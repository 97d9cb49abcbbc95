"""The journal's form: what is whole is read, what is torn or damaged is told and passed over."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.core.revocation import revocation_key
from clustersession.core.state import Delta, Ended, Register, SessionState
from clustersession.wire.journal import (
    BODY_BYTES_MAX,
    HEADER_BYTES,
    JournalCopies,
    JournalDamage,
    JournalEntry,
    JournalLife,
    JournalMembers,
    JournalReader,
    JournalSynced,
    JournalWhole,
    encode_entry,
    file_header,
    salt_of,
)

SALT = b"saltsalt"
A, B = b"node-aaa", b"node-bbb"


def session(key: str, value: bytes = b"x") -> Delta:
    state = SessionState(1, 2, 3, {"a": Register(5, A, 1, value)}, {A: 1})
    return Delta(key, state, full=True)


def end(key: str) -> Delta:
    return Delta(key, SessionState(1, 2, 3, {}, {A: 2}, Ended(6, A, "invalidated")), full=True)


ENTRIES: list[JournalEntry] = [
    JournalLife(A, [B]),
    JournalMembers(77, {A: "a", B: "b"}, {b"node-ccc": 70}),
    JournalCopies(12, [session("one"), session("two")]),
    JournalCopies(0, [end("one")]),
    JournalSynced(40),
    JournalWhole(),
]


def read(data: bytes, piece: int = 10**9, *, ends_only: bool = False) -> tuple[list[object], int]:
    reader = JournalReader(SALT, ends_only=ends_only)
    found: list[object] = []
    for start in range(0, len(data), piece):
        found += reader.receive(data[start : start + piece])
    last, end_at = reader.finish()
    return found + list(last), end_at


def encoded(entries: list[JournalEntry] = ENTRIES) -> list[bytes]:
    return [encode_entry(entry, SALT) for entry in entries]


@pytest.mark.parametrize("piece", [1, 3, 50, 10_000])
def test_what_was_written_is_read_in_any_pieces(piece: int) -> None:
    data = b"".join(encoded())
    assert read(data, piece) == (ENTRIES, HEADER_BYTES + len(data))


def test_the_header_has_the_salt() -> None:
    assert salt_of(file_header(SALT)) == SALT
    assert len(file_header(SALT)) == HEADER_BYTES
    for wrong in (b"", file_header(SALT)[:-1], b"x" * 100):
        with pytest.raises(WireError):
            salt_of(wrong)


@settings(max_examples=200)
@given(st.integers(min_value=0), st.integers(min_value=1, max_value=500))
def test_a_torn_tail_is_cut_at_the_last_whole_entry(cut: int, piece: int) -> None:
    parts = encoded()
    data = b"".join(parts)
    cut %= len(data) + 1
    whole, size = 0, 0
    while whole < len(parts) and size + len(parts[whole]) <= cut:
        size += len(parts[whole])
        whole += 1
    assert read(data[:cut], piece) == (ENTRIES[:whole], HEADER_BYTES + size)


@settings(max_examples=200)
@given(st.data(), st.integers(min_value=1, max_value=500))
def test_a_damaged_middle_is_told_and_passed_over(data: st.DataObject, piece: int) -> None:
    parts = encoded()
    which = data.draw(st.integers(0, len(parts) - 2))
    at = data.draw(st.integers(0, len(parts[which]) - 1))
    spoiled = bytearray(parts[which])
    spoiled[at] ^= data.draw(st.integers(1, 255))
    start = HEADER_BYTES + sum(map(len, parts[:which]))
    found, _ = read(b"".join([*parts[:which], bytes(spoiled), *parts[which + 1 :]]), piece)
    expected: list[object] = [
        *ENTRIES[:which], JournalDamage(start, len(spoiled)), *ENTRIES[which + 1 :]
    ]
    assert found == expected


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(min_value=1, max_value=50))
def test_any_bytes_are_read_without_an_error(noise: bytes, piece: int) -> None:
    found, _ = read(noise, piece)
    assert not [entry for entry in found if not isinstance(entry, JournalDamage)]


def test_neither_a_value_nor_a_former_file_passes_for_an_entry() -> None:
    forged = encode_entry(JournalCopies(0, [session("forged")]), b"guessed!")
    outer = bytearray(encode_entry(JournalCopies(0, [session("s", forged)]), SALT))
    outer[5] ^= 1
    found, _ = read(bytes(outer) + encode_entry(JournalWhole(), SALT))
    assert found == [JournalDamage(HEADER_BYTES, len(outer)), JournalWhole()]


def test_ends_are_read_without_the_rest() -> None:
    revocation = Delta(
        revocation_key(b"t" * 16), SessionState(1, 2, 3, {"r": Register(5, A, 1, b"1")}, {A: 1}),
        full=True,
    )
    ends = [JournalCopies(0, [end("one")]), JournalCopies(3, [revocation])]
    live = [JournalCopies(5, [session("two")])]
    found, _ = read(b"".join(encoded([*live, *ends, *live, JournalWhole()])), ends_only=True)
    passed_over = JournalCopies(5, ())
    assert found == [passed_over, *ends, passed_over, JournalWhole()]


def test_a_length_that_no_entry_has_is_not_waited_for() -> None:
    data = bytearray(encode_entry(JournalWhole(), SALT))
    data[5:9] = (BODY_BYTES_MAX + 1).to_bytes(4, "big")
    found = JournalReader(SALT).receive(bytes(data) + encode_entry(JournalSynced(1), SALT))
    assert found == [JournalDamage(HEADER_BYTES, len(data)), JournalSynced(1)]


def test_what_imitates_entries_in_a_damaged_one_is_not_summed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summed_bytes = 0

    def crc32(data: bytes | memoryview, value: int = 0) -> int:
        nonlocal summed_bytes
        summed_bytes += len(data)
        return zlib.crc32(data, value)

    head = encode_entry(JournalWhole(), b"guessed!")[:5] + (100_000).to_bytes(4, "big")
    outer = bytearray(encode_entry(JournalCopies(0, [session("s", head * 20_000)]), SALT))
    outer[-1] ^= 1
    data = bytes(outer) + encode_entry(JournalWhole(), SALT)
    monkeypatch.setattr("clustersession.wire.journal.crc32", crc32)
    found, _ = read(data)
    assert found == [JournalDamage(HEADER_BYTES, len(outer)), JournalWhole()]
    assert summed_bytes < 4 * len(data)
