"""Keys: equal on every node, different for every secret, cluster and purpose."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.core.errors import ConfigurationError
from clustersession.wire.keys import ClusterKeys, derive_keys

KEY_ID = "bcf95320"
DATAGRAM_KEY = "4fdd3e5adf958a71b0953551ea2b86461ea2f4cf9852058c55aadc05b5b9d286"
HELLO_KEY = "fa851930ab7e33dfd15e618823e015e9c3f8e196921b9d400271490a8d409899"
TLS_SEED = "a38c2bfee094dbf2b5afd94caf15a07ec7f693b2d25c74241429113c7a6d409c"


def test_equal_configuration_gives_equal_keys() -> None:
    assert derive_keys("a secret", "shop") == derive_keys(b"a secret", "shop")


@settings(max_examples=50)
@given(
    st.tuples(st.binary(min_size=1), st.text(max_size=20)),
    st.tuples(st.binary(min_size=1), st.text(max_size=20)),
)
def test_any_difference_gives_other_keys(a: tuple[bytes, str], b: tuple[bytes, str]) -> None:
    if a == b:
        return
    first, second = derive_keys(*a), derive_keys(*b)
    assert first.datagram_key != second.datagram_key
    assert first.tls_seed != second.tls_seed


def test_purposes_are_independent() -> None:
    keys = derive_keys("a secret", "shop")
    assert len({keys.datagram_key, keys.tls_seed, keys.hello_key}) == 3
    assert not keys.datagram_key.startswith(keys.key_id)
    assert (len(keys.key_id), len(keys.datagram_key), len(keys.tls_seed)) == (4, 32, 32)


def test_the_derivation_never_changes() -> None:
    # Nodes of different releases must agree; a change here is a new protocol.
    keys = derive_keys("secret", "clustersession")
    assert keys.key_id.hex() == KEY_ID
    assert keys.datagram_key.hex() == DATAGRAM_KEY
    assert keys.tls_seed.hex() == TLS_SEED
    assert keys.hello_key.hex() == HELLO_KEY


def test_secrets_do_not_show() -> None:
    keys = ClusterKeys.derive(["a secret"], "shop")
    assert keys.first.datagram_key.hex() not in repr(keys)
    assert repr(keys.first.tls_seed) not in repr(keys)
    assert repr(keys.first.datagram_key) not in repr(keys)
    assert repr(keys.first.hello_key) not in repr(keys)


def test_the_first_secret_leads_and_all_are_known() -> None:
    keys = ClusterKeys.derive(["new", "old", "new"], "shop")
    new, old = derive_keys("new", "shop"), derive_keys("old", "shop")
    assert keys.secrets == (new, old)
    assert keys.first == new
    assert keys.by_id(old.key_id) == old
    assert keys.by_id(b"none") is None


@pytest.mark.parametrize("secrets", [[], [""], ["good", b""]])
def test_an_empty_secret_is_refused(secrets: list[str | bytes]) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        ClusterKeys.derive(secrets, "shop")
