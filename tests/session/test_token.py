"""Session ids: authentic or nothing."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import ConfigurationError
from clustersession.core.ids import ID_LENGTH, KEY_LENGTH, log_name
from clustersession.session.token import IdSigner, id_signer

SECRET, OTHER = b"first secret, long enough", b"second secret, long enough"
ALPHABET = string.ascii_letters + string.digits + "-_"


@given(st.binary(min_size=16, max_size=16))
def test_a_minted_id_is_authentic(random: bytes) -> None:
    signer = IdSigner([SECRET])
    identifier = signer.mint(random)
    assert re.fullmatch(r"[A-Za-z0-9_-]{39}", identifier)
    assert len(identifier) == ID_LENGTH
    assert signer.key_of(identifier) == identifier[:KEY_LENGTH]
    assert IdSigner([SECRET]).key_of(identifier) == identifier[:KEY_LENGTH]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 38), st.sampled_from(ALPHABET))
def test_a_changed_character_is_a_forgery(random: bytes, position: int, character: str) -> None:
    signer = IdSigner([SECRET])
    identifier = signer.mint(random)
    forged = identifier[:position] + character + identifier[position + 1 :]
    assert (signer.key_of(forged) is None) == (forged != identifier)


@given(st.text(max_size=60))
def test_any_text_is_refused_quietly(text: str) -> None:
    assert IdSigner([SECRET]).key_of(text) is None


def test_rotation_of_secrets() -> None:
    before, during, after = IdSigner([SECRET]), IdSigner([OTHER, SECRET]), IdSigner([OTHER])
    old, new = before.mint(b"0" * 16), during.mint(b"1" * 16)
    assert during.key_of(old) is not None
    assert during.key_of(new) is not None
    assert before.key_of(new) is None
    assert after.key_of(old) is None
    assert after.key_of(new) is not None


def test_secrets_with_the_same_key_character_are_both_tried() -> None:
    first = IdSigner([b"secret number 0"])
    character = first.mint(b"0" * 16)[0]
    twin = next(
        secret
        for secret in (b"secret number %d" % i for i in range(1, 10_000))
        if IdSigner([secret]).mint(b"0" * 16)[0] == character
    )
    assert IdSigner([twin, b"secret number 0"]).key_of(first.mint(b"0" * 16)) is not None

def test_clusters_with_one_secret_refuse_each_others_ids() -> None:
    secret = "a secret that two clusters have"
    identifier = id_signer([secret], "shop").mint(b"0" * 16)
    assert id_signer([secret], "shop").key_of(identifier) is not None
    assert id_signer([secret], "bank").key_of(identifier) is None
    # Nor does the secret itself sign: it would be there to be guessed without knowing the cluster.
    assert IdSigner([secret.encode()]).key_of(identifier) is None


def test_a_signer_needs_a_key_and_16_bytes() -> None:
    with pytest.raises(ConfigurationError):
        IdSigner([])
    with pytest.raises(ValueError, match="16"):
        IdSigner([SECRET]).mint(b"short")


def test_a_log_name_is_no_id() -> None:
    identifier = IdSigner([SECRET]).mint(b"0" * 16)
    assert re.fullmatch(r"[0-9a-f]{8}", log_name(identifier[:KEY_LENGTH]))
