"""A session comes back from a store's hash as it was; what no host writes is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import WireError
from clustersession.core.state import IDLE_TIMEOUT, Register, SessionState
from clustersession.store.form import fields_of, state_of
from clustersession.store.sealing import SealedNames
from tests.store.histories import KEY, NODES, PlainNames, deltas

SEALED = SealedNames([b"s" * 32], "shop")


def hash_of(state: SessionState, names: PlainNames | SealedNames) -> dict[bytes, bytes]:
    flat = fields_of(KEY, state, names)
    return dict(zip(flat[::2], flat[1::2], strict=True))


@given(deltas(1_800_000_000_000).map(lambda delta: delta.state), st.sampled_from([0, 1]))
def test_what_is_written_is_read(state: SessionState, sealed: int) -> None:
    names = SEALED if sealed else PlainNames()
    assert state_of(KEY, hash_of(state, names), names) == state


STATE = SessionState(
    1, 2, 3,
    {IDLE_TIMEOUT: Register(1, NODES[0], 1, b"60000"), "a": Register(1, NODES[0], 1, b"v")},
    {NODES[0]: 1}, None,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"c", b""), (b"c", b"1"), (b"c", b"x" * 16), (b"c", b"f" * 16),
        (b"c", b"000000000000000A"), (b"d", b"+000000000000001"), (b"v0", b"0" * 16),
        (b"v" + b"0" * 16, b"1"), (b"v" + b"Z" * 16, b"0" * 16), (b"v" + b"A" * 16, b"0" * 16),
        (b"v" + b"\xff" * 16, b"0" * 16),
        (b"ra", b""), (b"ra", b"0" * 48 + b"2"), (b"i", b"0" * 48), (b"e", b""),
        (b"e", b"0" * 32 + b"\xff"),
    ],
)  # fmt: skip
def test_what_no_host_writes_is_refused(field: bytes, value: bytes) -> None:
    with pytest.raises(WireError):
        state_of(KEY, {**hash_of(STATE, PlainNames()), field: value}, PlainNames())


@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=60)))
def test_no_other_error_comes_of_any_hash(fields: dict[bytes, bytes]) -> None:
    try:
        state_of(KEY, {**hash_of(STATE, SEALED), **fields}, SEALED)
    except WireError:
        pass
