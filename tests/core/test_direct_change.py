"""What a change that comes alone may join, and that versions stay true when it does."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.direct_change import Fit, judge
from clustersession.core.state import Ended, Register, SessionState, delta_since, merge

NODE, OTHER = b"n" * 8, b"o" * 8
NOW_MS = 1_000_000
DEADLINE_MS = 10 * NOW_MS


def state(registers: dict[str, tuple[int, bytes, int]], **versions: int) -> SessionState:
    """A session: per name time, writer and place; versions by the writer's letter."""
    return SessionState(
        0, NOW_MS, DEADLINE_MS,
        {
            name: Register(time, node, seq, b"%d" % time)
            for name, (time, node, seq) in registers.items()
        },
        {name.encode() * 8: seq for name, seq in versions.items()},
    )


HELD = state({"a": (1, NODE, 3)}, n=3)
PART = state({"a": (5, NODE, 7)}, n=7)


def fit(
    current: SessionState | None, part: SessionState = PART, base: int = 3, floor: int = 3,
    *, full: bool = False,
) -> Fit:
    return judge(current, part, NODE, base, floor, NOW_MS, full=full)


def test_a_change_joins_a_copy_with_the_previous_write() -> None:
    assert fit(HELD) is Fit.JOIN
    assert fit(HELD, base=2) is Fit.JOIN


def test_a_change_does_not_join_a_copy_without_it() -> None:
    assert fit(HELD, base=4) is Fit.REFUSE
    assert fit(None) is Fit.REFUSE
    assert fit(None, base=0) is Fit.REFUSE


def test_a_first_write_to_a_session_of_others_stands_on_any_copy() -> None:
    assert fit(state({"a": (1, OTHER, 9)}, o=9), base=0) is Fit.JOIN


def test_a_session_that_is_over_takes_no_change() -> None:
    assert fit(replace(HELD, registers={}, ended=Ended(2, OTHER, "invalidated"))) is Fit.REFUSE
    assert fit(replace(HELD, deadline_ms=NOW_MS - 1)) is Fit.REFUSE


def test_what_is_here_already_is_held() -> None:
    assert fit(merge(HELD, PART)) is Fit.HELD
    assert fit(merge(HELD, PART), floor=20) is Fit.HELD
    assert fit(state({"a": (9, OTHER, 4)}, n=7, o=4)) is Fit.HELD
    assert fit(state({"a": (9, NODE, 8)}, n=8)) is Fit.HELD


def test_a_place_given_out_twice_is_refused() -> None:
    # The stream has brought all up to 7, and nothing to this session: 7 was another write.
    assert fit(HELD, floor=7) is Fit.REFUSE
    # At this place our copy has something else.
    assert fit(state({"b": (4, NODE, 7)}, n=7)) is Fit.REFUSE
    assert fit(state({"a": (4, NODE, 7)}, n=7)) is Fit.REFUSE


def test_a_whole_copy_joins_what_is_here_and_begins_what_is_not() -> None:
    assert fit(HELD, base=0, full=True) is Fit.JOIN
    assert fit(None, base=0, full=True) is Fit.JOIN


def test_a_whole_copy_brings_nothing_back() -> None:
    """What the stream has brought and is not here any more is over."""
    assert fit(None, base=0, floor=7, full=True) is Fit.REFUSE
    over = replace(PART, deadline_ms=NOW_MS - 1)
    assert fit(None, over, base=0, full=True) is Fit.REFUSE
    ended = replace(HELD, registers={}, ended=Ended(2, OTHER, "invalidated"))
    assert fit(ended, base=0, full=True) is Fit.REFUSE


def test_a_whole_end_joins_whatever_is_here() -> None:
    end = replace(PART, registers={}, ended=Ended(9, NODE, "invalidated"))
    assert fit(HELD, end, base=0, full=True) is Fit.JOIN
    assert fit(None, end, base=0, full=True) is Fit.JOIN
    ended = replace(HELD, registers={}, ended=Ended(2, OTHER, "invalidated"))
    assert fit(ended, end, base=0, full=True) is Fit.JOIN
    assert fit(merge(HELD, end), end, base=0, full=True) is Fit.HELD


NAMES = st.sampled_from(["a", "b", "c"])


@given(st.lists(NAMES, min_size=2, max_size=8), st.data())
def test_versions_stay_true_whatever_comes_when(names: list[str], data: st.DataObject) -> None:
    """Of a node's writes to one session any are sent directly, in any order and more than once.

    Whatever joins, the copy then contains every write up to its version, or a later one.
    """
    copies = [state({}, n=0)]
    for seq, name in enumerate(names, 1):
        now = Register(seq, NODE, seq, b"%d" % seq)
        before = copies[-1]
        copies.append(replace(
            before, registers={**before.registers, name: now}, versions={NODE: seq}
        ))
    here = copies[data.draw(st.integers(0, 2))]
    for seq in data.draw(st.lists(st.integers(1, len(names)), max_size=12)):
        part = delta_since("key", copies[seq], NODE, seq - 1).state
        found = judge(here, part, NODE, seq - 1, 0, NOW_MS)
        if found is Fit.JOIN:
            here = merge(here, part)
        known = here.versions[NODE]
        assert here.registers == copies[known].registers
        assert found is not Fit.HELD or known >= seq
