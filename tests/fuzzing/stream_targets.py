"""The decoders that see streams and datagrams: frames, sealed datagrams, proofs of a hello."""

from functools import cache
from random import Random
from zlib import crc32

from clustersession.core.errors import WireError
from clustersession.wire.envelope import DatagramDropped, Opened, Opener, Sealer
from clustersession.wire.frames import FrameDecoder, encode_frame, split_first_frame
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import encode_message
from clustersession.wire.proof import PROOF_BYTES, HelloProof
from tests.fuzzing import samples
from tests.fuzzing.target import Broken, Target

FRAME_BYTES_MAX = 4096
CLUSTER = "shop"
_DATAGRAMS = 64


def _frames(rng: Random) -> bytes:
    sizes = (rng.choice((0, 1, 3, 200, FRAME_BYTES_MAX)) for _ in range(rng.randint(1, 4)))
    return b"".join(encode_frame(rng.randbytes(size)) for size in sizes)


def _plain_frames(data: bytes) -> tuple[list[bytes], bool]:
    """What a decoder without any cleverness finds, and whether the stream went bad."""
    found = []
    while len(data) >= 4:
        length = int.from_bytes(data[:4], "big")
        if length > FRAME_BYTES_MAX:
            return found, True
        if len(data) < 4 + length:
            break
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found, False


def _check_frames(data: bytes) -> bool:
    """However the stream is cut into pieces, the same frames come out of it."""
    wanted, bad = _plain_frames(data)
    rng = Random(crc32(data))
    decoder = FrameDecoder(FRAME_BYTES_MAX)
    found: list[bytes] = []
    position = 0
    try:
        while position < len(data):
            end = position + 1 + int(rng.random() * rng.choice((1, 5, 300, 9000)))
            found += decoder.receive(data[position:end])
            if len(decoder._rest) > FRAME_BYTES_MAX + 4:
                raise Broken(f"{len(decoder._rest)} bytes are held")
            position = end
    except WireError:
        if not bad or found != wanted[: len(found)]:
            raise Broken("refused a stream that is in order") from None
        return False
    if bad or found != wanted:
        raise Broken(f"found {len(found)} frames instead of {len(wanted)}, bad: {bad}")
    return True


def _check_first_frame(data: bytes) -> bool:
    wanted, bad = _plain_frames(data)
    try:
        first = split_first_frame(data, FRAME_BYTES_MAX)
    except WireError:
        if wanted or not bad:
            raise Broken("refused a first frame that is in order") from None
        return False
    if first is not None and (first[0] != wanted[0] or len(first[0] + first[1]) + 4 != len(data)):
        raise Broken("the first frame is another")
    return True


@cache
def keys() -> ClusterKeys:
    """The keys of the cluster under attack: a new and an old secret."""
    return ClusterKeys.derive(["the new secret 1", "the old secret 1"], CLUSTER)


class _Datagrams:
    """Sealed datagrams, remembered: only these may ever be opened, and each to its own payload."""

    def __init__(self) -> None:
        self._payloads: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._sealers: dict[tuple[bytes, int], Sealer] = {}
        self._opener = Opener(keys(), CLUSTER, senders_max=8)

    def sample(self, rng: Random) -> bytes:
        old = ClusterKeys(keys().secrets[1:])
        # Sealer and keys are one: a nonce is never used twice with another payload.
        place = (bytes([rng.randint(1, 12)]) * 8, rng.randint(1, 3))
        sealer = self._sealers.setdefault(
            place, Sealer(rng.choice((keys(), old)), CLUSTER, *place)
        )
        payload = encode_message(samples.message(rng))
        datagram = sealer.seal(payload)
        self._payloads[datagram] = payload
        return datagram

    def check(self, data: bytes) -> bool:
        result = self._opener.open(data)
        if isinstance(result, DatagramDropped):
            return False
        if not isinstance(result, Opened) or self._payloads.get(data) != result.payload:
            raise Broken("opened what nobody sealed")
        if len(self._opener._senders) > 8:
            raise Broken("remembers more senders than it may")
        return True


class _Proofs:
    """Hellos with a proof: only these may pass."""

    def __init__(self) -> None:
        self._passed: set[bytes] = set()
        self._ours = HelloProof(keys(), b"our certificate")
        self._theirs = HelloProof(keys(), b"their certificate")

    def sample(self, rng: Random) -> bytes:
        hello = encode_message(samples.MESSAGES["Hello"](rng))
        data = self._theirs.add(hello, b"our certificate", we_dialled=True)
        self._passed.add(data)
        return data

    def check(self, data: bytes) -> bool:
        try:
            hello = self._ours.check(data, b"their certificate", we_dialled=False)
        except WireError:
            return False
        if data not in self._passed or hello != data[PROOF_BYTES:]:
            raise Broken("a proof passed that nobody made")
        return True


def targets() -> list[Target]:
    """All of them."""
    datagrams, proofs = _Datagrams(), _Proofs()
    return [
        Target("frames", _frames, _check_frames),
        Target("frames.first", _frames, _check_first_frame),
        # A sender forgotten or behind its own later epoch: not every sample is opened.
        Target("envelope", datagrams.sample, datagrams.check, expected=False),
        Target("proof", proofs.sample, proofs.check),
    ]
