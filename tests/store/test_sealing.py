"""Who owns the store reads no value, forges none and moves none."""

import pytest

from clustersession.core.errors import WireError
from clustersession.store.sealing import SealedNames

STAMP = b"0" * 48 + b"1"
OLD, NEW = b"o" * 32, b"n" * 32


def test_the_same_register_has_the_same_bytes() -> None:
    names = SealedNames([NEW], "shop")
    assert names.seal("k", STAMP, "cart", b"tea") == names.seal("k", STAMP, "cart", b"tea")


def test_neither_name_nor_value_is_to_be_seen() -> None:
    tag, sealed = SealedNames([NEW], "shop").seal("k", STAMP, "cart", b"much tea")
    for hidden in (b"cart", b"much tea"):
        assert hidden not in tag + sealed


def test_sessions_do_not_show_that_they_have_an_attribute_in_common() -> None:
    names = SealedNames([NEW], "shop")
    assert names.seal("k", STAMP, "cart", b"")[0] != names.seal("l", STAMP, "cart", b"")[0]


@pytest.mark.parametrize("value", [b"", b"tea", b"x" * 100_000])
@pytest.mark.parametrize("name", ["", "cart", "\x00principal", "é" * 1024, "\ud800"])
def test_what_is_sealed_is_opened(name: str, value: bytes) -> None:
    names = SealedNames([NEW], "shop")
    assert names.open("k", STAMP, *names.seal("k", STAMP, name, value)) == (name, value)


def test_a_deletion_has_a_name_and_no_value() -> None:
    names, stamp = SealedNames([NEW], "shop"), b"0" * 49
    assert names.open("k", stamp, *names.seal("k", stamp, "cart", None)) == ("cart", None)


def test_a_new_secret_seals_and_the_old_one_is_opened() -> None:
    old, both = SealedNames([OLD], "shop"), SealedNames([NEW, OLD], "shop")
    assert both.open("k", STAMP, *old.seal("k", STAMP, "cart", b"tea")) == ("cart", b"tea")
    with pytest.raises(WireError, match="another secret"):
        old.open("k", STAMP, *both.seal("k", STAMP, "cart", b"tea"))


def test_what_was_moved_or_changed_is_refused() -> None:
    names = SealedNames([NEW], "shop")
    tag, sealed = names.seal("k", STAMP, "cart", b"tea")
    other_tag, _ = names.seal("k", STAMP, "user", b"tea")
    forged = [
        ("l", STAMP, tag, sealed),
        ("k", b"1" + STAMP[1:], tag, sealed),
        ("k", STAMP, other_tag, sealed),
        ("k", STAMP[:48] + b"0", tag, sealed),
        ("k", STAMP, tag, sealed[:-1]),
        ("k", STAMP, tag, sealed[:4]),
        ("k", STAMP, tag, sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ]
    for attempt in forged:
        with pytest.raises(WireError):
            names.open(*attempt)
    with pytest.raises(WireError):
        SealedNames([NEW], "wiki").open("k", STAMP, tag, sealed)
