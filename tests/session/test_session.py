"""The session is a dict to every caller, and reads nothing until it is touched."""

import copy
import json
import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.errors import UnserializableValue
from clustersession.core.state import PRINCIPAL
from clustersession.session import attributes as module
from clustersession.session.session import Session
from clustersession.session.untouched import UntouchedSession
from tests.session.fakes import World

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sessions.md"
DATA = {"user": "ann", "cart": [1, 2], "n": 3}


@pytest.fixture
def world() -> World:
    return World()


def stored(world: World, **values: Any) -> Session:
    return world.open([world.store(**values)])


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


def test_comparison_length_membership(world: World) -> None:
    assert stored(world, **DATA) == DATA
    assert DATA == stored(world, **DATA)  # noqa: SIM300
    assert not stored(world, **DATA).__ne__(DATA)
    assert len(stored(world, **DATA)) == 3
    assert "cart" in stored(world, **DATA)
    assert bool(stored(world, **DATA))
    assert isinstance(stored(world, **DATA), dict)


def test_nothing_is_decoded_until_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = stored(world, **DATA)
    calls: list[bytes] = []
    decode = module.decode_value

    def counting(data: bytes) -> object:
        calls.append(data)
        return decode(data)

    monkeypatch.setattr(module, "decode_value", counting)
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
    decode = module.decode_value
    monkeypatch.setattr(module, "decode_value", lambda data: (calls.append(data), decode(data))[1])
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


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("append"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.sampled_from("abcd"), st.none()),
        st.tuples(st.just("pop"), st.sampled_from("abcd"), st.none()),
        st.tuples(st.just("setdefault"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("update"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("ior"), st.sampled_from("abcd"), st.integers(0, 3)),
        st.tuples(st.just("popitem"), st.none(), st.none()),
        st.tuples(st.just("clear"), st.none(), st.none()),
        st.tuples(st.just("commit"), st.none(), st.none()),
    ),
    max_size=25,
)


def perform(target: Any, name: str, key: Any, value: Any) -> Any:
    try:
        if name == "set":
            target[key] = [value]
        elif name == "append":
            target[key].append(value)
        elif name == "delete":
            del target[key]
        elif name == "pop":
            return target.pop(key)
        elif name == "setdefault":
            target.setdefault(key, []).append(value)
        elif name == "update":
            target.update({key: [value]}, other=value)
        elif name == "ior":
            target |= {key: [value]}
        elif name == "popitem":
            return target.popitem()
        elif name == "clear":
            target.clear()
    except (KeyError, AttributeError) as error:
        return type(error)
    return None


@given(OPERATIONS)
def test_it_behaves_like_a_dict_and_is_stored_like_one(operations: list[Any]) -> None:
    world, model = World(), {"a": [0], "z": 1}
    cookie = world.store(**copy.deepcopy(model))
    session = world.open([cookie])
    for name, key, value in operations:
        if name == "commit":
            world.save(session)
            session = world.open([cookie])
            assert session == model
            # A store keeps no order among attributes; popitem shows it.
            model = {key: model[key] for key in session.copy()}
        else:
            assert perform(session, name, key, value) == perform(model, name, key, value)
        assert session == model
    world.save(session)
    assert world.open([cookie]) == model


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


@pytest.mark.parametrize("key", [1, None, b"x", ("a",)])
def test_keys_must_be_strings_at_assignment(world: World, key: Any) -> None:
    session = world.open([])
    for assign in (
        lambda: session.__setitem__(key, 1),
        lambda: session.update({key: 1}),
        lambda: session.setdefault(key, 1),
        lambda: session.__ior__({key: 1}),
    ):
        with pytest.raises(TypeError, match="session keys must be str"):
            assign()
    assert session == {}


def test_system_names_cannot_be_set_or_seen(world: World) -> None:
    session = stored(world, a=1)
    with pytest.raises(ValueError, match="zero character"):
        session[PRINCIPAL] = "mallory"
    session.principal = "ann"
    world.commit(session)
    assert set(session) == {"a"}
    assert "\x00principal" not in session


def test_principal(world: World) -> None:
    cookie = world.store(a=1)
    session = world.open([cookie])
    assert session.principal is None
    session.principal = 7  # type: ignore[assignment]
    world.commit(session)
    session = world.open([cookie])
    assert session.principal == "7"
    session.principal = None
    world.commit(session)
    assert world.open([cookie]).principal is None
    with pytest.raises(TypeError):
        session.principal = object()  # type: ignore[assignment]


def test_times(world: World) -> None:
    session = stored(world, a=1)
    assert session.created_at == datetime.fromtimestamp(world.now_ms / 1000, UTC)
    assert session.idle_timeout == 1800.0
    session.idle_timeout = 60
    world.commit(session)
    assert session.sid is not None
    assert world.open([session.sid]).idle_timeout == 60.0
    with pytest.raises(ValueError, match="idle_timeout"):
        session.idle_timeout = -1


def test_flags(world: World) -> None:
    session = world.open([])
    assert (session.new, session.accessed, session.modified, session.sid) == (
        True, False, False, None,
    )
    session["a"] = 1
    assert session.accessed
    assert session.modified
    assert session.sid is None
    session.save()
    assert session.sid is not None
    assert not stored(world, a=1).new
    other = world.open([])
    other.mark_modified()
    assert other.modified
    assert other.accessed


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


PUBLIC = {
    "accessed", "areload", "asave", "cluster", "created_at", "idle_timeout", "invalidate",
    "lifetime", "mark_accessed", "mark_modified", "modified", "new", "permanent", "principal",
    "reload", "rotate", "save", "sid", "watch",
}  # fmt: skip


@pytest.mark.parametrize("kind", [Session, UntouchedSession])
def test_an_application_gets_what_is_documented_and_nothing_else(kind: type[Session]) -> None:
    public = {name for name in set(dir(kind())) - set(dir(dict)) if not name.startswith("_")}
    assert public == PUBLIC
    section = DOCUMENTATION.read_text().partition("## What a session has")[2].partition("\n## ")[0]
    left = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(?:await )?(\w+)", left)) == PUBLIC


def test_a_template_that_asks_for_the_notes_of_a_request_gets_nothing() -> None:
    environment = jinja2.Environment()
    for name in ("client", "state", "key", "missing", "sealed", "seen", "legacy", "system"):
        template = environment.from_string("{{ session." + name + " }}")
        assert template.render(session=stored(World(), user="ann")) == ""


@pytest.mark.parametrize("key", [3, "\x00x", "\ud800"])
def test_a_refused_key_was_a_look_at_the_session_all_the_same(world: World, key: Any) -> None:
    session = stored(world, n=1)
    with pytest.raises((TypeError, ValueError)):
        session[key] = 1
    assert (session.accessed, session.modified) == (True, False)
    assert world.commit(session).vary
