"""Sealed datagrams: strangers, forgers and recorders get nothing through, and break nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustersession.wire.envelope import (
    OVERHEAD_BYTES,
    WINDOW,
    DatagramDropped,
    DropReason,
    Opened,
    Opener,
    Sealer,
)
from clustersession.wire.keys import ClusterKeys

NAME = "shop"
KEYS = ClusterKeys.derive(["secret"], NAME)
SENDER = b"node-one"


def sealer(epoch: int = 1, sender: bytes = SENDER, keys: ClusterKeys = KEYS) -> Sealer:
    return Sealer(keys, NAME, sender, epoch)


def opener(keys: ClusterKeys = KEYS, senders_max: int = 64) -> Opener:
    return Opener(keys, NAME, senders_max)


def reason_of(result: Opened | DatagramDropped) -> DropReason:
    assert isinstance(result, DatagramDropped), result
    return result.reason


@settings(max_examples=60)
@given(st.binary(max_size=1500), st.integers(0, 2**64 - 1), st.binary(min_size=8, max_size=8))
def test_what_is_sealed_opens_once(payload: bytes, epoch: int, sender: bytes) -> None:
    datagram = sealer(epoch, sender).seal(payload)
    assert len(datagram) == len(payload) + OVERHEAD_BYTES
    receiver = opener()
    assert receiver.open(datagram) == Opened(sender, epoch, 1, payload)
    assert reason_of(receiver.open(datagram)) is DropReason.REPLAYED


def test_the_payload_is_not_readable() -> None:
    assert b"a user's name" not in sealer().seal(b"a user's name")


@settings(max_examples=300)
@given(st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_is_refused(place: int, flip: int) -> None:
    datagram = bytearray(sealer(epoch=7).seal(b"payload"))
    datagram[place % len(datagram)] ^= flip
    receiver = opener()
    assert isinstance(receiver.open(bytes(datagram)), DatagramDropped)
    assert isinstance(receiver.open(sealer(epoch=7).seal(b"payload")), Opened)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_dropped(noise: bytes) -> None:
    assert isinstance(opener().open(noise), DatagramDropped)
    assert isinstance(opener().open(b"CLS" + noise), DatagramDropped)
    assert isinstance(opener().open(sealer().seal(b"")[:20] + noise), DatagramDropped)


def test_every_truncation_is_dropped() -> None:
    datagram = sealer().seal(b"payload")
    for length in range(len(datagram)):
        assert isinstance(opener().open(datagram[:length]), DatagramDropped)


def test_reasons() -> None:
    datagram = sealer(epoch=5).seal(b"payload")
    receiver = opener()
    assert reason_of(receiver.open(datagram[:40])) is DropReason.TOO_SHORT
    assert reason_of(receiver.open(b"")) is DropReason.NOT_OURS
    assert reason_of(receiver.open(b"x" * 100)) is DropReason.NOT_OURS
    assert reason_of(receiver.open(b"CLS\x09" + datagram[4:])) is DropReason.UNKNOWN_VERSION
    other_name = Sealer(KEYS, "other", SENDER, 5).seal(b"")
    assert reason_of(receiver.open(other_name)) is DropReason.OTHER_CLUSTER
    other_secret = sealer(keys=ClusterKeys.derive(["wrong"], NAME)).seal(b"")
    assert reason_of(receiver.open(other_secret)) is DropReason.UNKNOWN_KEY
    assert reason_of(receiver.open(datagram[:-1] + b"\x00")) is DropReason.FORGED
    assert isinstance(receiver.open(datagram), Opened)
    assert reason_of(receiver.open(sealer(epoch=4).seal(b""))) is DropReason.OLD_EPOCH


def test_another_name_with_the_same_tag_and_key_is_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tag has only 32 bits; what separates clusters is the name in the associated data.
    monkeypatch.setattr("clustersession.wire.envelope.cluster_tag", lambda name: b"same")
    datagram = Sealer(KEYS, "other", SENDER, 1).seal(b"")
    assert reason_of(opener().open(datagram)) is DropReason.FORGED


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_reordering_within_the_window_loses_nothing(seed: int) -> None:
    source = sealer()
    datagrams = [source.seal(b"%d" % n) for n in range(WINDOW // 4)]
    random.Random(seed).shuffle(datagrams)
    receiver = opener()
    assert all(isinstance(receiver.open(d), Opened) for d in datagrams)
    assert {reason_of(receiver.open(d)) for d in datagrams} == {DropReason.REPLAYED}


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3 * WINDOW - 1), max_size=40))
def test_the_window_against_a_set(order: list[int]) -> None:
    receiver, seen, highest = opener(), set[int](), -1
    for index in order:
        result = receiver.open(STREAM[index])
        if index in seen or highest - index >= WINDOW:
            assert isinstance(result, DatagramDropped)
        else:
            assert isinstance(result, Opened)
            seen.add(index)
            highest = max(highest, index)


def test_sequences_behind_the_window_are_too_old() -> None:
    receiver = opener()
    receiver.open(STREAM[WINDOW])
    assert reason_of(receiver.open(STREAM[0])) is DropReason.TOO_OLD
    assert isinstance(receiver.open(STREAM[1]), Opened)


def test_a_higher_epoch_starts_a_new_window() -> None:
    receiver, first, second = opener(), sealer(epoch=1), sealer(epoch=2)
    early = first.seal(b"")
    assert isinstance(receiver.open(first.seal(b"")), Opened)
    assert isinstance(receiver.open(second.seal(b"")), Opened)
    assert reason_of(receiver.open(early)) is DropReason.OLD_EPOCH
    assert reason_of(receiver.open(first.seal(b""))) is DropReason.OLD_EPOCH


def test_forgeries_change_nothing_that_is_remembered() -> None:
    receiver, source = opener(senders_max=2), sealer()
    first = source.seal(b"")
    assert isinstance(receiver.open(first), Opened)
    for n in range(50):
        stranger = bytearray(sealer(epoch=n + 2, sender=b"%08d" % (n % 9)).seal(b""))
        stranger[-1] ^= 1
        assert reason_of(receiver.open(bytes(stranger))) is DropReason.FORGED
        higher = bytearray(sealer(epoch=2**60).seal(b""))
        higher[-1] ^= 1
        assert reason_of(receiver.open(bytes(higher))) is DropReason.FORGED
    assert reason_of(receiver.open(first)) is DropReason.REPLAYED
    assert isinstance(receiver.open(source.seal(b"")), Opened)


def test_the_sender_silent_longest_is_forgotten() -> None:
    receiver = opener(senders_max=2)
    a, b, c = (sealer(sender=name * 8).seal(b"") for name in (b"a", b"b", b"c"))
    for datagram in (a, b, c):
        assert isinstance(receiver.open(datagram), Opened)
    assert isinstance(receiver.open(b), DatagramDropped)
    assert isinstance(receiver.open(c), DatagramDropped)
    assert isinstance(receiver.open(a), Opened)


def test_rotation_of_the_secret() -> None:
    old, new = ClusterKeys.derive(["old"], NAME), ClusterKeys.derive(["new"], NAME)
    both = ClusterKeys.derive(["new", "old"], NAME)
    receiver = opener(both)
    assert isinstance(receiver.open(sealer(1, keys=old).seal(b"")), Opened)
    assert isinstance(receiver.open(sealer(2, keys=new).seal(b"")), Opened)
    assert isinstance(opener(new).open(sealer(3, keys=both).seal(b"")), Opened)
    assert reason_of(opener(old).open(sealer(3, keys=both).seal(b""))) is DropReason.UNKNOWN_KEY


@pytest.mark.parametrize(("sender", "epoch"), [(b"short", 1), (SENDER, -1), (SENDER, 2**64)])
def test_a_sealer_refuses_what_does_not_fit(sender: bytes, epoch: int) -> None:
    with pytest.raises(ValueError):
        Sealer(KEYS, NAME, sender, epoch)


_stream_source = sealer()
STREAM = [_stream_source.seal(b"") for _ in range(3 * WINDOW)]
