"""Only what changed is written; what cannot be read or kept harms nothing else."""

import json
from dataclasses import replace

import pytest

from clustersession.core.errors import UnserializableValue
from tests.session.fakes import World
from tests.session.stored_sessions import stored


def test_only_what_changed_is_committed(world: World) -> None:
    session = stored(world, a=[1], b=[2], c={"x": 1}, d=1)
    session["a"].append(5)
    session["d"] = 1
    session["c"] = {"x": 1}
    del session["b"]
    world.commit(session)
    (change,) = world.replica.commits[-1]
    assert set(change.sets) == {"a"}
    assert change.deletes == ("b",)


def damage(world: World, key: str) -> None:
    state = world.replica.states[key]
    bad = state.registers["bad"]._replace(value=b"\xc1")
    world.replica.states[key] = replace(state, registers={**state.registers, "bad": bad})


def test_an_attribute_that_cannot_be_read_harms_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = world.store(good=[1], bad=1)
    key = cookie[:23]
    damage(world, key)
    for _ in range(3):
        session = world.open([cookie])
        assert json.loads(json.dumps(session)) == {"good": [1]}
        session["good"].append(2)
        session["good"].pop()
        world.commit(session)
    assert world.replica.states[key].registers["bad"].value == b"\xc1"
    assert len([r for r in caplog.records if "'bad'" in r.getMessage()]) == 1
    assert cookie not in caplog.text
    assert key not in caplog.text
    assert world.manager.counters.decode_errors == 3
    session["bad"] = "new"
    world.save(session)
    assert world.open([cookie]) == {"good": [1], "bad": "new"}


def test_clear_deletes_the_unreadable_too(world: World) -> None:
    cookie = world.store(good=[1], bad=1)
    damage(world, cookie[:23])
    session = world.open([cookie])
    session.clear()
    world.commit(session)
    assert world.replica.states[cookie[:23]].registers["bad"].value is None


def test_what_cannot_be_stored_raises_at_commit_and_writes_nothing(world: World) -> None:
    session = stored(world, a=1)
    commits = len(world.replica.commits)
    session["a"] = 2
    session["thing"] = {"x": object()}
    with pytest.raises(UnserializableValue, match=r"session\['thing'\]\['x'\]"):
        world.commit(session)
    assert len(world.replica.commits) == commits
    # The error page of the same request commits again and must come through.
    assert world.commit(session).set_cookie is None
    assert len(world.replica.commits) == commits


@pytest.mark.parametrize("loads", [False, True])
def test_what_another_request_decodes_meanwhile_is_no_change_and_can_be_read(loads: bool) -> None:
    world = World()
    cookie = world.store(user="ada", n=1)
    world.replica.states.update(
        {key: replace(state) for key, state in world.replica.states.items()}  # nothing decoded
    )
    mine, theirs = world.open([cookie]), world.open([cookie])
    assert dict(theirs.items()) == {"user": "ada", "n": 1}
    if loads:
        assert dict(mine.items()) == {"user": "ada", "n": 1}
    mine["n"] = 2
    world.commit(mine)
    assert dict(world.open([cookie]).items()) == {"user": "ada", "n": 2}
