"""The token of the second cookie: small, of safe characters, and harmless whatever it says."""

import re

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.state import Register, SessionState
from clustersession.session.seen import WRITERS_MAX, decode_seen, encode_seen

NODES = st.binary(min_size=8, max_size=8)
SEQS = st.integers(min_value=1, max_value=2**48 - 1)
TOKEN_LENGTH_MAX = 151


def state_of(versions: dict[bytes, int], **registers: Register) -> SessionState:
    return SessionState(0, 0, 0, registers, versions)


@given(st.dictionaries(NODES, SEQS, max_size=WRITERS_MAX))
def test_up_to_eight_writers_come_back(versions: dict[bytes, int]) -> None:
    token = encode_seen(state_of(versions))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert len(token) <= TOKEN_LENGTH_MAX
    assert decode_seen(token) == versions


@given(st.dictionaries(NODES, SEQS, min_size=WRITERS_MAX + 1, max_size=40), st.data())
def test_of_more_writers_those_of_the_newest_registers_are_named(
    versions: dict[bytes, int], data: st.DataObject
) -> None:
    newest = data.draw(st.sets(
        st.sampled_from(sorted(versions)), min_size=WRITERS_MAX, max_size=WRITERS_MAX
    ))
    registers = {
        f"r{number}": Register(1000 + number if node in newest else number, node, 1, b"")
        for number, node in enumerate(versions)
    }
    token = encode_seen(state_of(versions, **registers))
    assert len(token) <= TOKEN_LENGTH_MAX
    assert decode_seen(token) == {node: versions[node] for node in newest}


def test_a_number_too_large_for_a_token_is_left_out() -> None:
    versions = {b"a" * 8: 2**48, b"b" * 8: 2**48 - 1}
    assert decode_seen(encode_seen(state_of(versions))) == {b"b" * 8: 2**48 - 1}


@given(st.text() | st.from_regex(r"\A1[A-Za-z0-9_-]*\Z") | st.from_regex(r"\A1[A-Za-z0-9_-]{19}\Z"))
def test_whatever_a_client_sends_is_at_most_eight_writers(token: str) -> None:
    seen = decode_seen(token)
    assert len(seen) <= WRITERS_MAX
    assert all(len(node) == 8 and 0 <= seq < 2**48 for node, seq in seen.items())


def test_what_is_no_token_names_nothing() -> None:
    token = encode_seen(state_of({b"a" * 8: 7}))
    for wrong in (
        "", "1", "2" + token[1:], token[1:], token[:-1], token + "A", token + "\n", token + "=",
        '"' + token + '"', "1" + token[1:] * 9, "1" + "A" * 10_000,
        "1\N{FULLWIDTH LATIN SMALL LETTER A}",
    ):
        assert decode_seen(wrong) == {}, wrong
