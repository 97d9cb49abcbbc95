"""The session is a dict to every caller, with a life of its own."""

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustersession.core.state import PRINCIPAL
from clustersession.session.session import Session
from clustersession.session.untouched import UntouchedSession
from tests.adapters.ways_to_read import BY_NAME, SAYS_NOTHING
from tests.session.fakes import World, cookie_of
from tests.session.stored_sessions import DATA, stored

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sessions.md"


def test_comparison_length_membership(world: World) -> None:
    assert stored(world, **DATA) == DATA
    assert DATA == stored(world, **DATA)  # noqa: SIM300
    assert not stored(world, **DATA).__ne__(DATA)
    assert len(stored(world, **DATA)) == 3
    assert "cart" in stored(world, **DATA)
    assert bool(stored(world, **DATA))
    assert isinstance(stored(world, **DATA), dict)


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
    # It was nobody's and becomes a user's, so it gets a new id.
    cookie = cookie_of(world.commit(session).set_cookie or "")
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
    assert (session.accessed, session.modified) == (False, False)
    assert (session.new, session.sid) == (True, None)
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


PUBLIC = {
    "accessed", "areload", "asave", "aswap", "cluster", "created_at", "expires_in",
    "idle_timeout", "invalidate",
    "label", "lifetime", "mark_accessed", "mark_modified", "modified", "new", "permanent",
    "principal", "reload", "rotate", "save", "set", "sid", "swap", "watch",
}  # fmt: skip


@pytest.mark.parametrize("kind", [Session, UntouchedSession])
def test_an_application_gets_what_is_documented_and_nothing_else(kind: type[Session]) -> None:
    public = {name for name in set(dir(kind())) - set(dir(dict)) if not name.startswith("_")}
    assert public == PUBLIC
    section = DOCUMENTATION.read_text().partition("## What a session has")[2].partition("\n## ")[0]
    left = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(?:await )?(\w+)", left)) == PUBLIC


def test_the_list_of_ways_to_read_is_whole() -> None:
    public = {name for name in dir(Session) if not name.startswith("_")}
    assert public == BY_NAME.keys() | SAYS_NOTHING


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

def test_modified_tells_of_changes_inside_values(world: World) -> None:
    session = stored(world, cart=[1], n=1)
    session["cart"].append(2)
    assert session.modified
    session.save()
    assert not session.modified
    session["cart"].append(object())
    assert session.modified  # and the commit says what is wrong
