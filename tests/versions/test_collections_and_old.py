"""Collections that merge pass through a node of an older version, which knows nothing of them."""

from typing import Any

import msgpack
import pytest

from clustersession.core.elements import (
    DICT,
    LIST,
    SET,
    SUM,
    Addition,
    ElementWrites,
    group_of,
)
from clustersession.core.state import Register, SessionState, merge
from clustersession.session.changes import visible_values
from clustersession.session.merging import decode_attribute, is_marker
from clustersession.wire.records import decode_state, encode_state
from clustersession.wire.values import encode_value
from tests.versions.conftest import Recording
from tests.versions.old_reader import OldReader
from tests.versions.samples import NODE_A, NODE_B, WALL_MS

OLD = b"old-node"
KINDS = {"cart": LIST, "tags": SET, "notes": DICT, "hits": SUM}


def write(registers: dict[str, Register], writes: ElementWrites, node: bytes, seq: int) -> None:
    writes.apply(registers, time=(WALL_MS << 16) + seq, node=node, seq=seq)


def additions(*items: Any) -> ElementWrites:
    content = [encode_value(item) for item in items]
    pair = len(content[0]).to_bytes(4, "big") + content[0] * 2
    return ElementWrites(
        tuple(
            Addition(group_of(kind, name), pair if kind == DICT else each)
            for name, kind in KINDS.items() if kind != SUM for each in content
        ),
        increments={group_of(SUM, "hits"): len(items)},
    )


def collections() -> SessionState:
    """A session in which two nodes have added, and one has removed and set to nothing."""
    registers = {
        name: Register(WALL_MS << 16, NODE_A, 1, b"\xd4\x0d" + kind.encode())
        for name, kind in KINDS.items()
    }
    write(registers, additions("tea", "cake"), NODE_A, 2)
    gone = dict(sorted(item for item in registers.items() if item[0] not in KINDS)[::2])
    write(registers, additions("rice"), NODE_B, 3)
    write(registers, ElementWrites(retired=gone), NODE_B, 4)
    return SessionState(WALL_MS, WALL_MS, 2 * WALL_MS, registers, {NODE_A: 2, NODE_B: 4})


def values_in(state: SessionState) -> dict[str, Any]:
    stored = visible_values(state.registers)
    return {name: decode_attribute(stored[name]) for name in KINDS if name in stored}


def passed_on(reader: OldReader, data: bytes) -> bytes:
    """What an older node stores and sends that has written an attribute of its own besides."""
    read = reader.read({"packed": "state"}, data)
    read["versions"][OLD] = 1
    read["registers"]["theirs"] = ((WALL_MS << 16) + 9, OLD, 1, b"\x01")
    nodes = list(read["versions"])
    versions = [part for at, seq in enumerate(read["versions"].values()) for part in (at, seq)]
    registers = [
        part for name, (time, node, seq, value) in read["registers"].items()
        for part in (name, time, nodes.index(node), seq, value)
    ]
    head = [reader.formats["record_format"], *read["times"]]
    packed: bytes = msgpack.packb([*head, nodes, versions, registers, None])
    return packed


def test_an_older_node_keeps_them_and_passes_them_on(recording: Recording) -> None:
    state = collections()
    back = decode_state(passed_on(recording.reader, encode_state(state)))
    registers = dict(back.registers)
    assert registers.pop("theirs").value == b"\x01"
    assert registers == state.registers
    assert values_in(back) == values_in(state)
    assert set(values_in(state)) == set(KINDS)


def test_what_others_write_meanwhile_merges_with_what_an_older_node_passes_on(
    recording: Recording,
) -> None:
    state = collections()
    registers = dict(state.registers)
    write(registers, additions("soup"), NODE_A, 5)
    newer = SessionState(WALL_MS, WALL_MS, 2 * WALL_MS, registers, {NODE_A: 5, NODE_B: 4})
    back = decode_state(passed_on(recording.reader, encode_state(state)))
    assert values_in(merge(back, newer)) == values_in(newer)
    assert "soup" in values_in(newer)["cart"]


def test_an_older_node_takes_the_attributes_for_nothing_that_it_knows(
    recording: Recording,
) -> None:
    codes: set[int] = set()
    for row in recording["values"]:
        data = bytes.fromhex(row["bytes"])
        msgpack.unpackb(
            data, strict_map_key=False, ext_hook=lambda code, _: codes.add(code) or code
        )
    for name in KINDS:
        marker = collections().registers[name].value
        assert marker is not None
        assert is_marker(marker)
        assert msgpack.unpackb(marker).code not in codes


@pytest.mark.parametrize("name", KINDS)
def test_an_older_node_that_sets_the_attribute_overwrites_it(name: str) -> None:
    state = collections()
    theirs = {name: Register((WALL_MS << 16) + 9, OLD, 1, b"\x01")}
    written = SessionState(WALL_MS, WALL_MS, 2 * WALL_MS, {**state.registers, **theirs}, {OLD: 1})
    assert decode_attribute(visible_values(merge(state, written).registers)[name]) == 1
