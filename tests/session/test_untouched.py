"""Nothing of a session is decoded before it is asked for, whatever way it is read."""

import copy
import json
import pickle
from dataclasses import replace

import pytest

from clustersession.session import attributes as module
from tests.session.fakes import World
from tests.session.stored_sessions import DATA, stored

READS = {
    "json": lambda s: json.loads(json.dumps(s)),
    "dict": dict,
    "unpack": lambda s: {**s},
    "keywords": lambda s: (lambda **k: k)(**s),
    "copy": lambda s: s.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "or": lambda s: s | {},
    "ror": lambda s: {} | s,
    "items": lambda s: dict(s.items()),
    "iteration": lambda s: {k: s[k] for k in s},
    "get": lambda s: {k: s.get(k) for k in s.keys()},  # noqa: SIM118
    "reversed": lambda s: {k: s[k] for k in reversed([*reversed(s)])},
    "repr": lambda s: eval(repr(s)),
    "update": lambda s: (target := {}, target.update(s), target)[2],  # type: ignore[var-annotated]
    "fromkeys": lambda s: {k: DATA[k] for k in dict.fromkeys(s)},
    "mark": lambda s: (s.mark_accessed(), {k: dict.get(s, k) for k in dict.keys(s)})[1],
}


@pytest.mark.parametrize("how", READS)
def test_every_way_of_reading_sees_all(world: World, how: str) -> None:
    session = stored(world, **DATA)
    result = READS[how](session)
    assert result == DATA
    assert type(result) is dict
    assert session.accessed
    assert not session.modified


@pytest.mark.parametrize("how", READS)
def test_an_empty_session_reads_as_empty(world: World, how: str) -> None:
    session = world.open([])
    assert READS[how](session) == {}


def test_nothing_is_decoded_until_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = stored(world, **DATA)
    calls: list[bytes] = []
    decode = module.decode_attribute

    def counting(data: bytes) -> object:
        calls.append(data)
        return decode(data)

    monkeypatch.setattr(module, "decode_attribute", counting)
    world.commit(session)
    assert calls == []
    assert not session.accessed
    # What can never change is known from the request that wrote it.
    assert session["n"] == 3
    assert "user" in session
    assert calls == []
    assert session["cart"] == [1, 2]
    assert len(calls) == 1
    again = world.open([f"{session.sid}.a"])
    assert again["cart"] is not session["cart"]
    assert len(calls) == 2


def test_a_value_is_decoded_when_it_is_asked_for_and_shared_if_it_cannot_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = world.store(**DATA)
    (key,) = world.replica.states
    # As it comes from another process: nothing is known of it but the bytes.
    world.replica.states[key] = replace(world.replica.states[key])
    calls: list[bytes] = []
    decode = module.decode_attribute
    monkeypatch.setattr(
        module, "decode_attribute", lambda data: (calls.append(data), decode(data))[1]
    )
    for count in (1, 1):
        assert world.open([cookie])["n"] == 3
        assert len(calls) == count
    first, second = (world.open([cookie]) for _ in range(2))
    first["cart"].append(3)
    assert dict(second) == DATA
    world.commit(first)
    assert dict(world.open([cookie])) == {**DATA, "cart": [1, 2, 3]}


def test_what_was_not_asked_for_is_not_written_and_can_be_deleted(world: World) -> None:
    cookie = world.store(**DATA)
    session = world.open([cookie])
    session["n"] = 4
    world.commit(session)
    assert set(world.replica.commits[-1][0].sets) == {"n"}
    session["cart"].append(5)
    world.save(session)
    assert set(world.replica.commits[-1][0].sets) == {"cart"}
    again = world.open([cookie])
    again["user"] = "bob"
    del again["cart"]
    world.commit(again)
    assert dict(world.open([cookie])) == {"user": "bob", "n": 4}
