"""Keys of one cluster are apart from those of another, and sessions from the rest."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from clustersession.store.keys import StoreKeys, slot_of

KEYS = StoreKeys("shop")


@given(st.text())
def test_a_session_is_found_by_its_name(key: str) -> None:
    assert KEYS.session_of(KEYS.session(key)) == key
    assert StoreKeys("shop.de").session_of(KEYS.session(key)) is None


@given(st.binary())
def test_other_names_are_no_sessions(name: bytes) -> None:
    found = KEYS.session_of(name)
    assert found is None or KEYS.session(found) == name
    assert KEYS.session_of(KEYS.members) is KEYS.session_of(KEYS.cursor(b"node-one")) is None


@given(st.binary() | st.text("{}ab").map(str.encode))
def test_slots_are_those_of_other_clients(name: bytes) -> None:
    assert slot_of(name) == key_slot(name)


def test_what_nodes_tell_is_in_one_slot() -> None:
    names = (KEYS.members, KEYS.memory, KEYS.cursor(b"node-one"), KEYS.cursor(b"node-two"))
    assert len({slot_of(name) for name in names}) == 1


def test_one_pattern_allows_all_of_them() -> None:
    prefix = KEYS.pattern.removesuffix("*").encode()
    names = (KEYS.session("k"), KEYS.members, KEYS.memory, KEYS.cursor(b"node-one"))
    assert all(name.startswith(prefix) for name in names)
