"""What every adapter has to keep, whatever the framework.

Changes of requests that run at the same time merge, a logout wins over a request that is still
running, changes inside values are noticed, values of a framework's classes become plain, who only
reads causes neither a write nor a cookie, and no answer to a request with the id from before a
login takes the place of the login's cookie. What is noted of a device is listed with the user's
sessions.

A framework joins with a subclass in its own test module; see test_flask.py for one::

    class TestContract(AdapterContract):
        @contextmanager
        def serve(self, views, listeners=None): ...

The views are plain functions that take the framework's session. One of them may make a whole
request itself, in the middle of its own: that is how two requests overlap here, without threads
that meet by luck. ``in_thread`` lets a driver make requests where no event loop runs.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from werkzeug.datastructures import MultiDict

from clustersession import Counter, MergingDict, MergingList, MergingSet
from clustersession.session.events import Event, Events
from clustersession.tools.demo.processes import wait_for
from clustersession.worker.runtime import Runtime
from tests.adapters.modes import MODES, environment_of
from tests.adapters.ways_to_read import BY_NAME, BY_PYTHON, looked_at

T = TypeVar("T")
View = Callable[[Any], object]
"""Takes the framework's session; what it returns is sent as JSON."""

COOKIE_NAME = "CLUSTERSESSION"


class Status(StrEnum):
    PAID = "paid"


class Level(IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request got: ``set_cookies`` are whole header values, ``vary`` the header's."""

    status: int
    data: Any
    set_cookies: tuple[str, ...]
    vary: str

    @property
    def cookie(self) -> str | None:
        """The value that the session cookie was set to; "" when it was deleted."""
        for header in self.set_cookies:
            morsel = SimpleCookie(header.replace("; Partitioned", "")).get(COOKIE_NAME)
            if morsel is not None:
                return morsel.value
        return None


class Served(ABC):
    """An application that serves the views it was given, each at the path of its name."""

    @abstractmethod
    def get(self, view: str, cookie: str | None = None) -> Answer:
        """One request, with a session cookie of this value. Called from views too."""

    @abstractmethod
    def runtime(self) -> Runtime:
        """The runtime behind the application's sessions."""


def in_thread(work: Callable[[], T] | Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of ``work`` in a thread without context; a coroutine runs in a loop there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result = work()
            results.append(asyncio.run(result) if asyncio.iscoroutine(result) else result)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class AdapterContract(ABC):
    """The promises. Subclass as ``TestContract`` where the framework's tests are.

    Each is kept in every mode, see ``modes``.
    """

    @pytest.fixture(autouse=True, params=MODES)
    def mode(
        self, request: pytest.FixtureRequest, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[str]:
        """The mode, as the environment of what is served."""
        with environment_of(request.param) as environment:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            yield request.param

    varies_untouched = False
    """The framework has each response vary, whether or not the application saw the session."""

    @abstractmethod
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> AbstractContextManager[Served]:
        """A new application over the state of the test, which the next one over it shares.

        ``listeners`` are given to it in the framework's own way.
        """

    def log_out(self, session: Any) -> None:
        """End the session in the framework's own way."""
        session.invalidate()

    def rotate(self, session: Any) -> None:
        """Move the session to a new id in the framework's own way."""
        session.rotate()

    def clear(self, session: Any) -> None:
        """Empty the session so that it ends, as Flask's tutorial does at a login."""
        session.clear()

    def two_workers(self, stack: ExitStack, during: list[Callable[[], None]]) -> list[Served]:
        """Two applications over one store; ``during`` runs in the middle of a slow request."""
        def begin(session: Any) -> object:
            session["user"] = "ann"
            session["cart"] = ["tea", {"spoons": [1]}]
            return None

        def interrupted() -> None:
            while during:
                during.pop()()

        def slow_after(session: Any) -> object:
            read = session.get("user")
            interrupted()
            session["slow"] = 1
            return read

        def slow_before(session: Any) -> object:
            session["slow"] = 1
            interrupted()
            return None

        def slow_in_place(session: Any) -> object:
            cart = session["cart"]
            interrupted()
            cart.append("late")
            return None

        def fast(session: Any) -> object:
            session["fast"] = 1
            return None

        def append(session: Any) -> object:
            session["cart"].append("cake")
            session["cart"][1]["spoons"].append(2)
            return None

        def log_out(session: Any) -> object:
            self.log_out(session)
            return None

        def log_in(session: Any) -> object:
            self.rotate(session)
            session["user"] = "bob"
            return None

        def log_in_anew(session: Any) -> object:
            self.clear(session)
            session["user"] = "bob"
            return None

        def slow_read(session: Any) -> object:
            found = session.get("user")
            interrupted()
            return found

        def read(session: Any) -> object:
            names = ("user", "cart", "slow", "fast")
            return {name: session.get(name) for name in names if name in session}

        def untouched(session: Any) -> object:
            return None

        views: dict[str, View] = {
            view.__name__: view
            for view in (
                begin, slow_after, slow_before, slow_in_place, slow_read, fast, append, log_in,
                log_in_anew, log_out, read, untouched,
            )
        }
        return [stack.enter_context(self.serve(views)) for _ in range(2)]

    def test_requests_at_the_same_time_lose_no_update(self) -> None:
        during: list[Callable[[], None]] = []
        with ExitStack() as stack:
            first, second = self.two_workers(stack, during)
            for slow in ("slow_after", "slow_before"):
                cookie = first.get("begin").cookie
                assert cookie
                answers: list[Answer] = []
                during.append(lambda: answers.append(second.get("fast", cookie)))  # noqa: B023
                assert first.get(slow, cookie).status == 200
                assert [answer.status for answer in answers] == [200]
                for worker in (first, second):
                    found = worker.get("read", cookie).data
                    assert (found["slow"], found["fast"], found["user"]) == (1, 1, "ann")

    def test_logout_wins_over_a_request_that_still_runs(self) -> None:
        during: list[Callable[[], None]] = []
        with ExitStack() as stack:
            first, second = self.two_workers(stack, during)
            for slow in ("slow_after", "slow_before", "slow_in_place"):
                cookie = first.get("begin").cookie
                assert cookie
                answers: list[Answer] = []
                during.append(lambda: answers.append(second.get("log_out", cookie)))  # noqa: B023
                late = first.get(slow, cookie)
                assert answers[0].cookie == ""
                assert late.status == 200
                # The one who logged out must not be given a session by the answer to a late tab.
                assert not late.cookie
                for worker in (first, second):
                    assert worker.get("read", cookie).data == {}

    @pytest.mark.parametrize("log_in", ["log_in", "log_in_anew"])
    def test_an_outdated_id_is_served_empty_and_takes_no_cookies_place(self, log_in: str) -> None:
        with ExitStack() as stack:
            first, second = self.two_workers(stack, [])
            old = first.get("begin").cookie
            login = first.get(log_in, old).cookie
            assert login
            assert login != old
            for view in ("fast", "read", "log_out", "slow_before", "untouched"):
                late = second.get(view, old)
                assert (late.status, late.set_cookies) == (200, ()), view
            assert second.get("read", old).data == {}
            assert second.get("read", login).data["user"] == "bob"
            assert second.runtime().manager().counters.lost_writes >= 1

    @pytest.mark.parametrize("log_in", ["log_in", "log_in_anew"])
    def test_a_login_counts_though_the_answer_of_the_first_was_lost(self, log_in: str) -> None:
        with ExitStack() as stack:
            first, second = self.two_workers(stack, [])
            old = first.get("begin").cookie
            lost = first.get(log_in, old).cookie
            again = second.get(log_in, old).cookie
            assert again
            assert again not in (old, lost)
            assert first.get("read", again).data == {"user": "bob"}

    def test_a_login_wins_over_the_answer_of_a_request_that_still_runs(self) -> None:
        during: list[Callable[[], None]] = []
        with ExitStack() as stack:
            first, second = self.two_workers(stack, during)
            for slow in ("slow_after", "slow_before", "slow_in_place", "slow_read"):
                value = first.get("begin").cookie
                assert value
                # Of a node that is gone, so that the answer would name another one.
                cookie = f"{value.partition('.')[0]}.gone"
                answers: list[Answer] = []
                during.append(lambda: answers.append(second.get("log_in", cookie)))  # noqa: B023
                late = first.get(slow, cookie)
                assert answers[0].cookie
                assert (late.status, late.set_cookies) == (200, ()), slow
                assert first.get("read", answers[0].cookie).data["user"] == "bob"

    def test_changes_inside_values_are_noticed(self) -> None:
        with ExitStack() as stack:
            first, second = self.two_workers(stack, [])
            cookie = first.get("begin").cookie
            assert cookie
            assert first.get("append", cookie).set_cookies == ()
            assert second.get("read", cookie).data["cart"] == ["tea", {"spoons": [1, 2]}, "cake"]

    def test_values_that_merge_lose_nothing_of_requests_at_the_same_time(self) -> None:
        during: list[Callable[[], None]] = []

        def begin(session: Any) -> object:
            session["cart"], session["hits"] = MergingList(), Counter()
            session["tags"], session["seen"] = MergingSet(), MergingDict()
            return None

        def add(session: Any, what: str) -> None:
            session["cart"].append(what)
            session["hits"] += 1
            session["tags"].add(what)
            session["seen"][what] = {"times": 1}

        def slow(session: Any) -> object:
            names = list(session.keys())
            add(session, "slow")
            while during:
                during.pop()()
            return [name for name in names if name[0] == "\0"]

        def fast(session: Any) -> object:
            add(session, "fast")
            return None

        def read(session: Any) -> object:
            return [
                sorted(session["cart"]), session["hits"], sorted(session["tags"]), session["seen"],
            ]

        views: dict[str, View] = {"begin": begin, "slow": slow, "fast": fast, "read": read}
        with ExitStack() as stack:
            first, second = (stack.enter_context(self.serve(views)) for _ in range(2))
            cookie = first.get("begin").cookie
            during.append(lambda: second.get("fast", cookie) and None)
            assert first.get("slow", cookie).data == []
            both, once = ["fast", "slow"], {"times": 1}
            for worker in (first, second):
                found = worker.get("read", cookie).data
                assert found == [both, 2, both, {"fast": once, "slow": once}]

    def test_of_requests_that_swap_the_same_value_one_is_told_that_it_did(self) -> None:
        during: list[Callable[[], object]] = []

        def begin(session: Any) -> object:
            return [session.swap("step", None, 1)]

        def slow(session: Any) -> object:
            read = session["step"]
            others = [other() for other in during]
            return [others, session.swap("step", read, "slow"), session["step"]]

        def fast(session: Any) -> object:
            return [session.swap("step", session["step"], "fast")]

        views: dict[str, View] = {"begin": begin, "slow": slow, "fast": fast}
        with ExitStack() as stack:
            first, second = (stack.enter_context(self.serve(views)) for _ in range(2))
            begun = first.get("begin")
            during.append(lambda: second.get("fast", begun.cookie).data)
            assert begun.data == [True]
            assert first.get("slow", begun.cookie).data == [[[True]], False, "fast"]

    def test_attributes_that_expire(self) -> None:
        def begin(session: Any) -> object:
            session["name"] = "ann"
            session.set("long", [1], expires_in=600)
            session.set("short", "123456", expires_in=0.5)
            return {"left": [session.expires_in(name) for name in ("name", "long", "none")]}

        def read(session: Any) -> object:
            return {"names": sorted({"long", "name", "short"} & set(session.keys()))}

        def lengthen(session: Any) -> object:
            session["long"] = 2
            return {"left": session.expires_in("long")}

        def left(session: Any) -> object:
            return {"left": [session.expires_in("long"), session.expires_in("short")]}

        views: dict[str, View] = {"begin": begin, "read": read, "lengthen": lengthen, "left": left}
        with ExitStack() as stack:
            first, second = (stack.enter_context(self.serve(views)) for _ in range(2))
            begun = first.get("begin")
            name, long, none = begun.data["left"]
            assert (name, none) == (None, 0)
            assert 0 < long <= 600
            for worker in (first, second):
                wait_for(
                    lambda w=worker: w.get("read", begun.cookie).data["names"] == ["long", "name"],
                    "its end",
                )
            assert first.get("lengthen", begun.cookie).data == {"left": None}
            assert second.get("left", begun.cookie).data == {"left": [None, 0]}

    def test_values_of_a_framework_s_own_classes_are_stored_as_plain_ones(self) -> None:
        def store(session: Any) -> object:
            session["form"] = MultiDict([("a", "1"), ("a", "2"), ("b", Status.PAID)])
            session["point"] = Point(1, Level.LOW)
            session[Status.PAID] = {Status.PAID: Level.LOW}
            return None

        def read(session: Any) -> object:
            names = ("form", "point", "paid")
            return [repr(session[name]) for name in names]

        with ExitStack() as stack:
            first, second = (
                stack.enter_context(self.serve({"store": store, "read": read})) for _ in range(2)
            )
            cookie = first.get("store").cookie
            assert cookie
            assert second.get("read", cookie).data == [
                "{'a': '1', 'b': 'paid'}", "(1, 1)", "{'paid': 1}",
            ]
            replica = second.runtime().manager().replica
            before = replica.head()
            assert second.get("store", cookie).status == 200
            assert replica.head() == before, "the same again is no change"

    def test_who_only_reads_writes_nothing_and_gets_no_cookie(self) -> None:
        with ExitStack() as stack:
            first, _ = self.two_workers(stack, [])
            stranger = first.get("read")
            assert (stranger.data, stranger.set_cookies) == ({}, ())
            cookie = first.get("begin").cookie
            assert cookie
            replica = first.runtime().manager().replica
            before = replica.head()
            answer = first.get("read", cookie)
            assert answer.data["user"] == "ann"
            assert answer.set_cookies == ()
            assert "cookie" in answer.vary.lower()
            untouched = first.get("untouched", cookie)
            assert untouched.set_cookies == ()
            assert ("cookie" in untouched.vary.lower()) is self.varies_untouched
            assert replica.head() == before

    ways_to_read: Mapping[str, View] = BY_NAME | BY_PYTHON
    """Everything that lets an application learn something of its session."""

    def test_whoever_looks_at_a_session_has_the_response_vary(self) -> None:
        names = {f"way{number}": name for number, name in enumerate(self.ways_to_read)}
        views = {path: looked_at(self.ways_to_read[name]) for path, name in names.items()}

        def begin(session: Any) -> object:
            session["user"], session["cart"] = "ann", [1]
            return None

        def untouched(session: Any) -> object:
            return None

        with self.serve({**views, "begin": begin, "untouched": untouched}) as app:
            assert ("cookie" in app.get("untouched").vary.lower()) is self.varies_untouched
            cookie = app.get("begin").cookie
            for path, name in names.items():
                assert "cookie" in app.get(path).vary.lower(), f"{name} of nothing"
                answer = app.get(path, cookie)
                assert "cookie" in answer.vary.lower(), f"{name} of a session"
                if answer.set_cookies:
                    cookie = app.get("begin").cookie

    def test_a_note_of_the_device_is_listed_until_the_logout(self) -> None:
        def begin(session: Any) -> object:
            session.label = "Firefox\x1b on <Linux>"
            return session.label

        def log_in(session: Any) -> object:
            self.rotate(session)
            session.principal = "ann"
            return session.label

        def read(session: Any) -> object:
            return session.label

        def log_out(session: Any) -> object:
            self.log_out(session)
            return session.label

        views: dict[str, View] = {v.__name__: v for v in (begin, log_in, read, log_out)}
        with self.serve(views) as app:
            begun = app.get("begin")
            assert begun.data == "Firefox on <Linux>"
            assert begun.cookie, "a label begins a session as any write does"
            again = app.get("begin", begun.cookie)
            assert again.set_cookies == ()
            cookie = app.get("log_in", begun.cookie).cookie
            assert cookie
            assert app.get("read", cookie).data == "Firefox on <Linux>"
            listed = app.runtime().sessions().sessions_of("ann")
            assert [view.label for view in listed] == ["Firefox on <Linux>"]
            app.get("log_out", cookie)
            assert app.get("read", cookie).data is None
            assert app.runtime().sessions().sessions_of("ann") == []

    def test_events_tell_of_login_change_logout_and_revocation(self) -> None:
        listeners, told = Events(), list[Event]()
        for kind in ("created", "changed", "ended", "principal_ended"):
            listeners.on(kind, told.append)

        def taken() -> list[tuple[str, str | None, str | None]]:
            events = [(event.kind, event.principal, event.reason) for event in told]
            told.clear()
            return events

        def log_in(session: Any) -> object:
            session["cart"] = []
            session.principal = "ann"
            return None

        def change(session: Any) -> object:
            session["cart"].append("tea")
            return None

        def read(session: Any) -> object:
            return session.get("cart")

        def log_out(session: Any) -> object:
            self.log_out(session)
            return None

        views: dict[str, View] = {v.__name__: v for v in (log_in, change, read, log_out)}
        with self.serve(views, listeners) as app:
            cookie = app.get("log_in").cookie
            assert cookie
            assert taken() == [("created", "ann", None)]
            app.get("change", cookie)
            assert [(e.names, e.data["cart"]) for e in told] == [(("cart",), ["tea"])]
            assert taken() == [("changed", "ann", None)]
            app.get("read", cookie)
            assert taken() == []
            app.get("log_out", cookie)
            assert taken() == [("ended", "ann", "invalidated")]
            cookie = app.get("log_in").cookie
            assert taken() == [("created", "ann", None)]
            assert app.runtime().sessions().end_all("ann") == 1
            assert taken() == [("ended", "ann", "revoked"), ("principal_ended", "ann", None)]
            assert app.get("read", cookie).data is None
