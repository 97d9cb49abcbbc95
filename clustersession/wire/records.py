"""Encodes sessions, deltas and batches as msgpack, and decodes them.

Each has two forms: a plain structure to nest inside a message, and bytes that stand alone. The way
in is validated in full; malformed input raises WireError and nothing else.

A session is ``[format, created, accessed, deadline, nodes, versions, registers, ended]``. Node ids
stand once, in ``nodes``, and everything else names them by their index, which keeps records small;
``versions`` and ``registers`` are flat lists for the same reason. Parts may be appended to a
session, a delta or a batch; a decoder ignores those it does not know.
"""

from collections.abc import Iterable
from typing import Any

import msgpack

from clustersession.core.errors import SessionTooLarge, WireError
from clustersession.core.feed import Batch
from clustersession.core.state import Delta, Ended, Register, SessionState, new_state
from clustersession.wire.packed import unpack_plain

FORMAT = 1
NODE_BYTES = 8
INTEGER_MAX = 2**63 - 1
KEY_LENGTH_MAX = 128
NAME_LENGTH_MAX = 1024
REASON_LENGTH_MAX = 64
NODES_MAX = 4096
REGISTERS_MAX = 65_536
DELTAS_MAX = 65_536

_STATE_PARTS = 8
_REGISTER_PARTS = 5

# Half the price of Register(...), on the path of each request.
_new_tuple = tuple.__new__

_PACKER_BYTES = 2**16
_idle_packers: list[msgpack.Packer] = []


def state_to_plain(state: SessionState) -> list[Any]:
    """Return the session as a structure of lists, integers, strings and bytes.

    Raises SessionTooLarge for what ``state_from_plain`` would refuse to read for its size.
    """
    if len(state.registers) > REGISTERS_MAX or len(state.versions) > NODES_MAX:
        raise SessionTooLarge(
            f"the session has {len(state.registers)} attributes written by {len(state.versions)} "
            f"nodes; at most {REGISTERS_MAX} and {NODES_MAX} are kept"
        )
    indexes: dict[bytes, int] = {}
    versions: list[int] = []
    for node, seq in state.versions.items():
        versions += (indexes.setdefault(node, len(indexes)), seq)
    registers: list[Any] = []
    for name, (time, node, seq, value) in state.registers.items():
        if len(name) > NAME_LENGTH_MAX:
            raise SessionTooLarge(
                f"the attribute name {name[:32]!r}... has {len(name)} characters; "
                f"at most {NAME_LENGTH_MAX} are kept"
            )
        registers += (name, time, indexes.setdefault(node, len(indexes)), seq, value)
    ended: list[Any] | None = None
    if state.ended is not None:
        time, node, reason = state.ended
        ended = [time, indexes.setdefault(node, len(indexes)), reason]
    return [
        FORMAT, state.created_ms, state.accessed_ms, state.deadline_ms,
        list(indexes), versions, registers, ended,
    ]


def state_from_plain(plain: object) -> SessionState:
    """Return the session from its plain structure. Raises WireError."""
    version, created_ms, accessed_ms, deadline_ms, nodes, versions, registers, ended = (
        plain if type(plain) is list and len(plain) == _STATE_PARTS
        else _parts(plain, _STATE_PARTS)
    )
    if type(version) is not int or version != FORMAT:
        raise WireError("a session in an unknown format")
    if not (
        type(created_ms) is type(accessed_ms) is type(deadline_ms) is int
        and 0 <= created_ms <= INTEGER_MAX
        and 0 <= accessed_ms <= INTEGER_MAX
        and 0 <= deadline_ms <= INTEGER_MAX
    ):
        raise WireError("a session with a time of the wrong type or size")
    _check_nodes(nodes)
    return new_state(
        created_ms, accessed_ms, deadline_ms,
        _registers(registers, nodes),
        _versions(versions, nodes),
        None if ended is None else _ended(ended, nodes, registers),
    )


def encode_state(state: SessionState) -> bytes:
    """Return the session as bytes. Raises SessionTooLarge."""
    encoded = state._encoded
    if encoded is None:
        return _pack(state_to_plain(state))
    # For one use: they are as large as what they encode.
    object.__setattr__(state, "_encoded", None)
    return encoded


class StateDraft:
    """Is a session encoded but for the place and the time of some registers, all of one new write.

    Their values stand in the state already, the version of the node that writes them too.
    """

    __slots__ = ("_registers", "_version", "plain")

    def __init__(
        self,
        state: SessionState,
        node: bytes,
        names: Iterable[str],
        before: list[Any] | None = None,
    ) -> None:
        """Encode the rest. Raises SessionTooLarge.

        ``before``: the ``plain`` of the copy that the write changes. It has the same registers in
        the same order and, at the end, those that are new, so that little needs to be said anew.
        """
        self.plain = state_to_plain(state) if before is None else _changed(before, state, names)
        order = list(state.registers)
        self._registers = [_REGISTER_PARTS * order.index(name) for name in names]
        self._version = 2 * list(state.versions).index(node) + 1

    def completed(self, seq: int, time: int) -> bytes:
        """Return what ``encode_state`` makes of the session with this place and time."""
        plain = self.plain
        plain[5][self._version] = seq
        flat = plain[6]
        for start in self._registers:
            flat[start + 1] = time
            flat[start + 3] = seq
        return _pack(plain)


def _changed(before: list[Any], state: SessionState, names: Iterable[str]) -> list[Any]:
    """Return what ``state_to_plain`` makes of a copy, from what it made of the one before it."""
    nodes, flat = before[4], before[6]
    registers, versions = state.registers, state.versions
    # Nodes stand there by their versions, and none besides: then nobody's place can move.
    if len(before[5]) != 2 * len(nodes) or len(registers) * _REGISTER_PARTS != len(flat):
        return state_to_plain(state)
    if len(versions) != len(nodes):
        return state_to_plain(state)
    flat = flat.copy()
    order = list(registers)
    for name in names:
        place = _REGISTER_PARTS * order.index(name)
        register = registers[name]
        flat[place + 2] = nodes.index(register.node)
        flat[place + 4] = register.value
    return [
        FORMAT, state.created_ms, state.accessed_ms, state.deadline_ms,
        nodes, before[5].copy(), flat, None,
    ]


def decode_state(data: bytes | memoryview) -> SessionState:
    """Return the session from its bytes. Raises WireError."""
    return state_from_plain(_unpack(data))


def decode_copy(data: bytes) -> SessionState:
    """Decode what is passed on or stored as it is, and need not be encoded again.

    What this version does not know is not passed on.
    """
    plain = _unpack(data)
    state = state_from_plain(plain)
    if type(plain) is list and len(plain) == _STATE_PARTS and state.ended is None:
        object.__setattr__(state, "_encoded", data)
    return state


def delta_to_plain(delta: Delta) -> list[Any]:
    """Return the delta as a plain structure."""
    return [delta.key, delta.full, state_to_plain(delta.state)]


def delta_from_plain(plain: object) -> Delta:
    """Return the delta from its plain structure. Raises WireError."""
    key, full, state = _parts(plain, 3)
    return Delta(checked_key(key), state_from_plain(state), _boolean(full))


def encode_delta(delta: Delta) -> bytes:
    """Return the delta as bytes."""
    return _pack(delta_to_plain(delta))


def decode_delta(data: bytes | memoryview) -> Delta:
    """Return the delta from its bytes. Raises WireError."""
    return delta_from_plain(_unpack(data))


def batch_to_plain(batch: Batch) -> list[Any]:
    """Return the batch as a plain structure; when it reaches the head, that is not repeated."""
    complete = batch.complete
    plain = [
        FORMAT, batch.sender, batch.floor, batch.after, batch.upto, complete,
        [delta_to_plain(delta) for delta in batch.deltas],
    ]
    return plain if complete else [*plain, batch.head]


def batch_from_plain(plain: object) -> Batch:
    """Return the batch from its plain structure. Raises WireError."""
    version, sender, floor, after, upto, complete, deltas, *more = _parts(plain, 7, 8)
    if type(version) is not int or version != FORMAT:
        raise WireError("a batch in an unknown format")
    checked_integer(floor)
    checked_integer(after)
    checked_integer(upto)
    if after > upto:
        raise WireError("a batch that ends before it begins")
    if _boolean(complete):
        head = upto
    elif (head := checked_integer(more[0] if more else upto + 1)) <= upto:
        raise WireError("a batch that goes beyond the head of its feed")
    if type(deltas) is not list or len(deltas) > DELTAS_MAX:
        raise WireError("the deltas of a batch are no list, or too many")
    return Batch(
        checked_node(sender), floor, after, upto, head,
        [delta_from_plain(delta) for delta in deltas],
    )


def encode_batch(batch: Batch) -> bytes:
    """Return the batch as bytes."""
    return _pack(batch_to_plain(batch))


def decode_batch(data: bytes | memoryview) -> Batch:
    """Return the batch from its bytes. Raises WireError."""
    return batch_from_plain(_unpack(data))


def checked_key(key: object) -> str:
    """Return the session key when it can be one: 1 to 128 ASCII characters. Raises WireError."""
    if type(key) is not str or not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii():
        raise WireError("a session key of the wrong type, length or alphabet")
    return key


def checked_node(node: object) -> bytes:
    """Return the node id when it can be one: 8 bytes. Raises WireError."""
    if type(node) is not bytes or len(node) != NODE_BYTES:
        raise WireError("a node id that is not 8 bytes")
    return node


def checked_integer(value: object) -> int:
    """Return the number when fields can hold it: 63 bits, not negative. Raises WireError."""
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        raise WireError("a number of the wrong type or size")
    return value


def _pack(plain: list[Any]) -> bytes:
    # As in ``wire.values``: a Packer costs more to make than to use, and is in one hand at a time.
    # One that has failed is not used again.
    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = msgpack.Packer(buf_size=_PACKER_BYTES)
    packed: bytes = packer.pack(plain)
    if len(packed) <= _PACKER_BYTES:
        _idle_packers.append(packer)
    return packed


def _unpack(data: bytes | memoryview) -> object:
    try:
        plain: object = unpack_plain(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not msgpack: {type(error).__name__}") from None
    return plain


def _parts(plain: object, count: int, count_max: int = 0) -> list[Any]:
    if type(plain) is not list or len(plain) < count:
        raise WireError(f"a structure that is not a list of {count} parts")
    return plain if len(plain) == count else plain[: count_max or count]


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise WireError("a flag that is neither true nor false")
    return value


def _check_nodes(nodes: object) -> None:
    # A table may hold the node of a register besides those of the versions, hence twice the bound.
    if type(nodes) is not list or len(nodes) > 2 * NODES_MAX:
        raise WireError("the table of nodes is no list, or too long")
    for node in nodes:
        if type(node) is not bytes or len(node) != NODE_BYTES:
            raise WireError("a node id that is not 8 bytes")


def _versions(flat: object, nodes: list[bytes]) -> dict[bytes, int]:
    if type(flat) is not list or len(flat) % 2 or len(flat) > 2 * NODES_MAX:
        raise WireError("the versions are no list of pairs, or too many")
    node_count = len(nodes)
    versions: dict[bytes, int] = {}
    numbers = iter(flat)
    for index, seq in zip(numbers, numbers):  # noqa: B905
        if (
            type(index) is not int or not 0 <= index < node_count
            or type(seq) is not int or not 0 <= seq <= INTEGER_MAX
        ):
            raise WireError("a version with a wrong node or number")
        versions[nodes[index]] = seq
    return versions


def _registers(flat: object, nodes: list[bytes]) -> dict[str, Register]:
    if (
        type(flat) is not list
        or len(flat) % _REGISTER_PARTS
        or len(flat) > _REGISTER_PARTS * REGISTERS_MAX
    ):
        raise WireError("the registers are no list of five parts each, or too many")
    node_count = len(nodes)
    registers: dict[str, Register] = {}
    parts = iter(flat)
    for name, time, index, seq, value in zip(parts, parts, parts, parts, parts):  # noqa: B905
        if not (
            type(name) is str
            and type(time) is type(index) is type(seq) is int
            and 0 <= time <= INTEGER_MAX >= seq >= 0 <= index < node_count
            and (value is None or type(value) is bytes)
            and len(name) <= NAME_LENGTH_MAX
        ):
            raise WireError("a register with a part of the wrong type or size")
        registers[name] = _new_tuple(Register, (time, nodes[index], seq, value))
    return registers


def _ended(plain: object, nodes: list[bytes], registers: list[Any]) -> Ended:
    time, index, reason = _parts(plain, 3)
    checked_integer(time)
    if type(index) is not int or not 0 <= index < len(nodes):
        raise WireError("an end by a node that is not in the table")
    if type(reason) is not str or len(reason) > REASON_LENGTH_MAX:
        raise WireError("the reason of an end is no text, or too long")
    if registers:
        raise WireError("an ended session that still has attributes")
    return Ended(time, nodes[index], reason)
