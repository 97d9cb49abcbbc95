"""The token of the second cookie: small, of safe characters, signed for one session."""

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.state import Register, SessionState
from clustersession.session.seen import TOKENS_PER_REQUEST_MAX, WRITERS_MAX, SeenTokens
from clustersession.session.token import id_signer

NODES = st.binary(min_size=8, max_size=8)
SEQS = st.integers(min_value=1, max_value=2**48 - 1)
TOKEN_LENGTH_MAX = 161
KEY, OTHER_KEY = "a" * 23, "b" * 23
OLD, NEW = "the old secret of the cluster", "the new secret of the cluster"


def tokens_of(*secrets: str, cluster: str = "shop") -> SeenTokens:
    return SeenTokens(id_signer(secrets, cluster))


TOKENS = tokens_of(OLD)


def encode_seen(state: SessionState) -> str:
    return TOKENS.encode(KEY, state)


def decode_seen(token: str) -> Mapping[bytes, int]:
    return TOKENS.decode(KEY, [token])




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


@given(st.text() | st.from_regex(r"\A1[A-Za-z0-9_-]*\Z") | st.from_regex(r"\A1[A-Za-z0-9_-]{30}\Z"))
def test_whatever_a_client_makes_up_names_nothing(token: str) -> None:
    assert decode_seen(token) == {}


def test_one_character_changed_makes_it_no_token() -> None:
    token = encode_seen(state_of({b"a" * 8: 7, b"b" * 8: 9}))
    for place, character in enumerate(token[:-1]):
        other = "A" if character != "A" else "B"
        assert decode_seen(token[:place] + other + token[place + 1 :]) == {}, place


def test_a_token_is_of_one_session_and_one_cluster() -> None:
    token = encode_seen(state_of({b"a" * 8: 7}))
    assert TOKENS.decode(OTHER_KEY, [token]) == {}
    assert tokens_of(OLD, cluster="other").decode(KEY, [token]) == {}
    assert tokens_of(NEW).decode(KEY, [token]) == {}


def test_while_a_secret_is_replaced_tokens_of_both_count() -> None:
    token = encode_seen(state_of({b"a" * 8: 7}))
    second = tokens_of(OLD, NEW)
    first = tokens_of(NEW, OLD)
    assert first.decode(KEY, [token]) == {b"a" * 8: 7}
    assert second.decode(KEY, [first.encode(KEY, state_of({b"a" * 8: 8}))]) == {b"a" * 8: 8}


def test_of_several_cookies_the_first_of_this_session_counts() -> None:
    token = encode_seen(state_of({b"a" * 8: 7}))
    foreign = TOKENS.encode(OTHER_KEY, state_of({b"a" * 8: 9}))
    assert TOKENS.decode(KEY, ["junk", foreign, token]) == {b"a" * 8: 7}
    assert TOKENS.decode(KEY, ["junk"] * TOKENS_PER_REQUEST_MAX + [token]) == {}


def test_what_is_no_token_names_nothing() -> None:
    token = encode_seen(state_of({b"a" * 8: 7}))
    for wrong in (
        "", "1", "2" + token[1:], token[1:], token[:-1], token + "A", token + "\n", token + "=",
        '"' + token + '"', "1" + token[1:] * 9, "1" + "A" * 10_000,
        "1\N{FULLWIDTH LATIN SMALL LETTER A}",
    ):
        assert decode_seen(wrong) == {}, wrong
