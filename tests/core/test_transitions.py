"""What happened between two copies."""

from clustersession.core.revocation import principal_tag, revocation_key
from clustersession.core.state import PRINCIPAL, Ended, Register, SessionState
from clustersession.core.transitions import Transition, transitions

A = b"node-aaa"
KEY = "k" * 23


def copy(accessed_ms: int = 1, ended: str | None = None, **values: bytes | None) -> SessionState:
    registers = {n: Register(1, A, 1, v) for n, v in values.items()}
    registers["\x00idle_ms"] = Register(1, A, 1, b"%d" % accessed_ms)
    if ended is not None:
        return SessionState(1, 1, 9, {}, {}, Ended(1, A, ended))
    return SessionState(1, accessed_ms, 9, registers, {})


def belonging_to(user: bytes | None, **values: bytes | None) -> SessionState:
    return copy(**values, **{PRINCIPAL: user})


def transition(
    before: SessionState | None, after: SessionState, key: str = KEY
) -> Transition | None:
    return next(transitions([(key, before, after)]), None)


def kind_and_names(before: SessionState | None, after: SessionState) -> object:
    happened = transition(before, after)
    return happened and (happened.kind, happened.names)


def test_every_kind_has_the_copy_that_can_be_read() -> None:
    one, two, over = copy(a=b"1"), copy(a=b"2", b=b"1"), copy(ended="revoked")
    assert transition(None, one) == Transition("created", KEY, ("a",), state=one)
    assert transition(one, two) == Transition("changed", KEY, ("a", "b"), state=two)
    assert transition(one, over) == Transition("ended", KEY, reason="revoked", state=one)
    assert kind_and_names(one, copy(a=None)) == ("changed", ("a",))


def test_the_principal_set_changed_and_removed_is_a_change() -> None:
    for before, after in ((copy(), belonging_to(b"ann")),
                          (belonging_to(b"ann"), belonging_to(b"bob")),
                          (belonging_to(b"ann"), belonging_to(None))):
        assert kind_and_names(before, after) == ("changed", ())
    assert kind_and_names(copy(), belonging_to(b"ann", a=b"1")) == ("changed", ("a",))
    assert kind_and_names(belonging_to(b"ann"), belonging_to(b"ann")) is None
    assert kind_and_names(copy(), belonging_to(None)) is None


def test_what_is_no_event() -> None:
    assert transition(copy(a=b"1"), copy(5, a=b"1")) is None
    assert transition(copy(ended="invalidated"), copy(ended="rotated")) is None
    assert transition(None, copy(ended="invalidated")) is None
    assert transition(copy(), copy(a=None)) is None
    assert transition(None, copy(a=b"1"), revocation_key(principal_tag("ann"))) is None
