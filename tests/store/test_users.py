"""A name of a user in the store says nothing of him, and is found again while secrets change."""

from hashlib import sha256

from clustersession.core.revocation import principal_tag, revocation_key
from clustersession.store import users
from clustersession.store.keys import StoreKeys, slot_of
from clustersession.store.users import UserNames

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = StoreKeys("shop")
TAG = principal_tag("ann")


def names_of(*secrets: bytes, cluster_name: str = "shop") -> UserNames:
    return UserNames(StoreKeys(cluster_name), secrets, cluster_name)


def test_nobody_can_compare_a_name_with_guesses() -> None:
    one, other = names_of(OLD), names_of(NEW)
    for name in (*one.indexes(TAG), *one.revocations(TAG)):
        for guess in (b"ann", TAG.hex().encode(), sha256(b"ann").hexdigest()[:32].encode()):
            assert guess not in name
    assert one.indexes(TAG) != other.indexes(TAG)
    assert names_of(OLD, cluster_name="wiki").indexes(TAG)[0][-30:] != one.indexes(TAG)[0][-30:]


def test_what_either_secret_has_named_is_found_and_the_first_one_is_written() -> None:
    both = names_of(NEW, OLD)
    assert both.indexes(TAG) == [*names_of(NEW).indexes(TAG), *names_of(OLD).indexes(TAG)]
    assert both.revocations(TAG) == [
        *names_of(NEW).revocations(TAG), *names_of(OLD).revocations(TAG)
    ]


def test_a_users_keys_share_a_slot_and_are_ours() -> None:
    names = names_of(NEW)
    [index], [record] = names.indexes(TAG), names.revocations(TAG)
    assert slot_of(index) == slot_of(record)
    assert all(n.startswith(KEYS.pattern.removesuffix("*").encode()) for n in (index, record))
    assert KEYS.session_of(index) is KEYS.session_of(record) is None
    assert KEYS.is_revocation(record)
    assert not KEYS.is_revocation(index)


def test_a_record_is_known_by_its_name_once_it_was_asked_for() -> None:
    names = names_of(NEW, OLD)
    assert names.record_of(names_of(OLD).revocations(TAG)[0]) is None
    for name in names.revocations(TAG):
        assert names.record_of(name) == revocation_key(TAG)


def test_names_that_are_remembered_are_bounded() -> None:
    names = names_of(NEW)
    for number in range(users.NAMES_MAX + 2):
        names.revocations(number.to_bytes(16, "big"))
    assert len(names._records) <= users.NAMES_MAX
