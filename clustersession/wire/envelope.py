"""Seals datagrams: they show who sent them, that they are whole, and not repeated.

Layout, all numbers big-endian, 36 bytes of header::

    magic 3 | version 1 | cluster tag 4 | key id 4 | sender 8 | epoch 8 | sequence 8 | sealed

The payload is sealed with AES-256-GCM under a key of its own for each (sender, epoch); the nonce is
the sequence number, so it never repeats as long as a sender never uses an epoch twice. Header and
cluster name are authenticated with it. The cluster tag is public and only there to tell somebody
else's cluster on the same group from a node of ours with the wrong secret.
"""

import struct
from collections import OrderedDict
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from clustersession.wire.keys import ClusterKeys

MAGIC = b"CLS"
VERSION = 1
SENDER_BYTES = 8
WINDOW = 1024
SENDERS_MAX = 4096

_HEADER = struct.Struct("!3sB4s4s8sQQ")
_SEAL_BYTES = 16
_WINDOW_MASK = (1 << WINDOW) - 1
_U64_MAX = 2**64 - 1

OVERHEAD_BYTES = _HEADER.size + _SEAL_BYTES


class DropReason(StrEnum):
    """Says why a datagram was not opened; the value is the name of its counter."""

    TOO_SHORT = "too_short"
    NOT_OURS = "not_ours"
    UNKNOWN_VERSION = "unknown_version"
    OTHER_CLUSTER = "other_cluster"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    OLD_EPOCH = "old_epoch"
    REPLAYED = "replayed"
    TOO_OLD = "too_old"


class Opened(NamedTuple):
    """Holds an authentic datagram, seen for the first time."""

    sender: bytes
    epoch: int
    sequence: int
    payload: bytes


class DatagramDropped(NamedTuple):
    """Says why a datagram was dropped."""

    reason: DropReason


_DROPPED = {reason: DatagramDropped(reason) for reason in DropReason}


class Sealer:
    """Seals the datagrams of one sender in one epoch.

    There must never be two sealers with the same sender and epoch, in this process or any other:
    they would use a nonce twice, which betrays the key of that epoch. So the epoch grows with every
    start of the sender, and its low bits should be random, because a copied disk image makes two
    senders with one id and one idea of the next epoch.

    _sequence: the number of the last datagram sealed; grows by one with each.
    """

    def __init__(self, keys: ClusterKeys, cluster_name: str, sender: bytes, epoch: int) -> None:
        if len(sender) != SENDER_BYTES:
            raise ValueError(f"a sender is {SENDER_BYTES} bytes, not {len(sender)}")
        if not 0 <= epoch <= _U64_MAX:
            raise ValueError(f"an epoch is an unsigned 64-bit number, not {epoch}")
        self._name = cluster_name.encode()
        self._tag = cluster_tag(cluster_name)
        self._key_id = keys.first.key_id
        self._sender = sender
        self._epoch = epoch
        self._cipher = _cipher(keys.first.datagram_key, sender, epoch)
        self._sequence = 0

    def seal(self, payload: bytes) -> bytes:
        """Seal a payload into a datagram, OVERHEAD_BYTES longer than it."""
        self._sequence = sequence = self._sequence + 1
        header = _HEADER.pack(
            MAGIC, VERSION, self._tag, self._key_id, self._sender, self._epoch, sequence
        )
        return header + self._cipher.encrypt(_nonce(sequence), payload, header + self._name)


class _SenderState:
    """Remembers of a sender its highest epoch, and which sequence numbers were seen.

    epoch, key_id, cipher: of its last life, with what opens its datagrams; a later epoch makes a
        new state. highest: the highest sequence number seen. seen: bit n stands for
        ``highest - n``; those WINDOW and more behind count as seen.
    """

    __slots__ = ("cipher", "epoch", "highest", "key_id", "seen")

    def __init__(self, epoch: int, key_id: bytes, cipher: AESGCM) -> None:
        self.epoch = epoch
        self.key_id = key_id
        self.cipher = cipher
        self.highest = 0
        self.seen = 0

    def admit(self, sequence: int) -> DropReason | None:
        """Take note of an authentic sequence number, or say why it must be refused."""
        ahead = sequence - self.highest
        if ahead > 0:
            self.seen = ((self.seen << ahead) | 1) & _WINDOW_MASK if ahead < WINDOW else 1
            self.highest = sequence
            return None
        if -ahead >= WINDOW:
            return DropReason.TOO_OLD
        bit = 1 << -ahead
        if self.seen & bit:
            return DropReason.REPLAYED
        self.seen |= bit
        return None


class Opener:
    """Opens datagrams of any sender that holds one of our secrets.

    Of at most ``senders_max`` senders the epoch and the last WINDOW sequence numbers are kept in
    mind; the one silent longest is forgotten first. An opener that has just been made remembers
    nothing, so a recorded datagram passes it until the sender itself was heard.

    _senders: what is remembered of each, the one silent longest first; only authentic datagrams
        change it.
    """

    def __init__(
        self, keys: ClusterKeys, cluster_name: str, senders_max: int = SENDERS_MAX
    ) -> None:
        self._keys = keys
        self._name = cluster_name.encode()
        self._tag = cluster_tag(cluster_name)
        self._senders_max = senders_max
        self._senders: OrderedDict[bytes, _SenderState] = OrderedDict()

    def open(self, datagram: bytes) -> Opened | DatagramDropped:
        """Open a datagram, or say why it was dropped. Never raises."""
        header = datagram[: _HEADER.size]
        if len(datagram) < OVERHEAD_BYTES:
            ours = datagram[: len(MAGIC)] == MAGIC
            return _DROPPED[DropReason.TOO_SHORT if ours else DropReason.NOT_OURS]
        magic, version, tag, key_id, sender, epoch, sequence = _HEADER.unpack(header)
        if magic != MAGIC:
            return _DROPPED[DropReason.NOT_OURS]
        if version != VERSION:
            return _DROPPED[DropReason.UNKNOWN_VERSION]
        if tag != self._tag:
            return _DROPPED[DropReason.OTHER_CLUSTER]
        state = self._senders.get(sender)
        cipher = self._cipher_of(state, key_id, sender, epoch)
        if cipher is None:
            return _DROPPED[DropReason.UNKNOWN_KEY]
        try:
            payload = cipher.decrypt(
                _nonce(sequence), datagram[_HEADER.size :], header + self._name
            )
        except InvalidTag:
            return _DROPPED[DropReason.FORGED]
        # Nothing is remembered before this line: a stranger must not be able to move a window or
        # to push a real sender out of memory.
        if state is None or epoch > state.epoch:
            state = self._senders[sender] = _SenderState(epoch, key_id, cipher)
        elif epoch < state.epoch:
            return _DROPPED[DropReason.OLD_EPOCH]
        refusal = state.admit(sequence)
        if refusal is not None:
            return _DROPPED[refusal]
        self._senders.move_to_end(sender)
        if len(self._senders) > self._senders_max:
            self._senders.popitem(last=False)
        return Opened(sender, epoch, sequence, payload)


    def _cipher_of(
        self, state: _SenderState | None, key_id: bytes, sender: bytes, epoch: int
    ) -> AESGCM | None:
        """Return what opens a sender's datagrams of an epoch; None when the secret is not ours."""
        if state is not None and state.epoch == epoch and state.key_id == key_id:
            return state.cipher
        keys = self._keys.by_id(key_id)
        return None if keys is None else _cipher(keys.datagram_key, sender, epoch)


def cluster_tag(cluster_name: str) -> bytes:
    """Return the public 4-byte mark of a cluster name."""
    return sha256(b"clustersession name\x00" + cluster_name.encode()).digest()[:4]


def _cipher(datagram_key: bytes, sender: bytes, epoch: int) -> AESGCM:
    info = b"sender" + sender + epoch.to_bytes(8, "big")
    return AESGCM(HKDFExpand(algorithm=SHA256(), length=32, info=info).derive(datagram_key))


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(12, "big")
