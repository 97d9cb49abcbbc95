"""The decoders of what a store says: replies, sealed values, sessions, beats."""

from random import Random

from clustersession.core.errors import WireError
from clustersession.net.store.calls import StoreCalls
from clustersession.net.store.resp import RespDecoder, command
from clustersession.node.store_calls import (
    Beat,
    Damaged,
    IndexEntry,
    Merge,
    Read,
    ReadIndex,
    StoreCall,
)
from clustersession.store.form import fields_of, member_of
from clustersession.store.keys import StoreKeys
from clustersession.store.sealing import SealedNames
from clustersession.store.users import UserNames
from tests.fuzzing import samples
from tests.fuzzing.target import Broken, Target

KEY = "k" * 23
KEYS, SECRETS = StoreKeys("shop"), (b"s" * 32, b"t" * 32)
CALLS = StoreCalls(
    KEYS, SealedNames(SECRETS, "shop"), UserNames(KEYS, SECRETS, "shop"), 300_000
)
READ, BEAT, INDEX = Read(KEY), Beat(b"our node", b"x", 1, b"e"), ReadIndex(b"u" * 16)


def _hash(rng: Random) -> bytes:
    fields = fields_of(KEY, samples.state(rng), CALLS.names)
    return b"%%%d\r\n" % (len(fields) // 2) + b"".join(
        b"$%d\r\n%b\r\n" % (len(part), part) for part in fields
    )


def _beats(rng: Random) -> bytes:
    others = b"".join(
        b"*4\r\n$16\r\n%b\r\n:%d\r\n$%d\r\n%b\r\n:1\r\n" % (
            node.hex().encode(), rng.randrange(99), len(sealed), sealed
        )
        for node in [samples.node(rng)] for sealed in [CALLS._sealed(node, b"told")]
    )
    carried = rng.choice([b"_\r\n", b"$16\r\n%016x\r\n" % rng.randrange(2**63)])
    others = rng.choice([b"*1\r\n" + others, b":%d\r\n" % rng.randrange(999)])
    return b"*6\r\n:%d\r\n$16\r\n%b\r\n$5\r\n1 2 3\r\n" % (
        samples.NOW_MS, rng.randbytes(16)
    ) + others + carried + b"$1\r\ne\r\n"


def _index(rng: Random) -> bytes:
    members = [
        member_of(IndexEntry(samples.text(rng), (rng.randrange(2**60), samples.node(rng), 1)))
        for _ in range(rng.randrange(4))
    ]
    return b"*%d\r\n" % len(members) + b"".join(
        b"$%d\r\n%b\r\n" % (len(member), member) for member in members
    )


def _check_answer(call: StoreCall, data: bytes) -> bool:
    try:
        replies = RespDecoder().feed(data)
        answers = [CALLS.answer(call, [reply]) for reply in replies]
    except WireError:
        return False
    for answer in answers:
        if isinstance(answer, Damaged) and len(answer.parts) % 2:
            raise Broken("half a field is damaged")
    return bool(answers) and not isinstance(answers[0], Damaged)


def _check_cuts(data: bytes) -> bool:
    """However a stream is cut, the same comes of it."""
    whole, cut, refused = RespDecoder(), RespDecoder(), [False, False]
    found: list[list[object]] = [[], []]
    try:
        found[0] = whole.feed(data)
    except WireError:
        refused[0] = True
    try:
        for at in range(len(data)):
            found[1] += cut.feed(data[at : at + 1])
    except WireError:
        refused[1] = True
    if refused[0] != refused[1] or (not refused[0] and found[0] != found[1]):
        raise Broken(f"whole {found[0]!r:.200}, cut {found[1]!r:.200}")
    return not refused[0]


def _sealed(rng: Random) -> bytes:
    stamp = b"0" * 48 + b"1"
    tag, value = CALLS.names.seal(KEY, stamp, samples.text(rng), rng.randbytes(rng.randrange(40)))
    return stamp + tag + value


def _check_sealed(data: bytes) -> bool:
    try:
        CALLS.names.open(KEY, data[:49], data[49:65], data[65:])
    except WireError:
        return False
    return True


def targets() -> list[Target]:
    """All of this module."""
    merge = Merge(KEY, samples.state(Random(1)), True)
    return [
        Target("store.session", _hash, lambda data: _check_answer(READ, data)),
        Target("store.index", _index, lambda data: _check_answer(INDEX, data)),
        Target("store.beats", _beats, lambda data: _check_answer(BEAT, data)),
        Target("store.merge", lambda rng: b":%d\r\n" % rng.randint(-4, 1),
               lambda data: _check_answer(merge, data)),
        Target("store.sealed", _sealed, _check_sealed),
        Target("store.cuts", lambda rng: _hash(rng) + command("x", rng.randrange(99)), _check_cuts,
               share=0.2),
    ]  # fmt: skip
