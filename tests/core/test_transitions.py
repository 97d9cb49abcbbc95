"""What happened between two copies."""

from clustersession.core.state import Ended, Register, SessionState
from clustersession.core.transitions import Transition, transition

A = b"node-aaa"


def copy(accessed_ms: int = 1, ended: str | None = None, **values: bytes | None) -> SessionState:
    registers = {n: Register(1, A, 1, v) for n, v in values.items()}
    registers["\x00idle_ms"] = Register(1, A, 1, b"%d" % accessed_ms)
    if ended is not None:
        return SessionState(1, 1, 9, {}, {}, Ended(1, A, ended))
    return SessionState(1, accessed_ms, 9, registers, {})


def test_every_kind() -> None:
    assert transition(None, copy(a=b"1")) == Transition("created", ("a",))
    assert transition(copy(a=b"1"), copy(a=b"2", b=b"1")) == Transition("changed", ("a", "b"))
    assert transition(copy(a=b"1"), copy(a=None)) == Transition("changed", ("a",))
    assert transition(copy(a=b"1"), copy(ended="revoked")) == Transition("ended", reason="revoked")


def test_what_is_no_event() -> None:
    assert transition(copy(a=b"1"), copy(5, a=b"1")) is None
    assert transition(copy(ended="invalidated"), copy(ended="rotated")) is None
    assert transition(None, copy(ended="invalidated")) is None
    assert transition(copy(), copy(a=None)) is None
