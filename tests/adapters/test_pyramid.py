"""Pyramid applications over a real replica."""

import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from pyramid.authentication import SessionAuthenticationHelper, SessionAuthenticationPolicy
from pyramid.config import Configurator
from pyramid.csrf import get_csrf_token, new_csrf_token
from pyramid.events import NewResponse
from pyramid.interfaces import ISession
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import forget, remember
from werkzeug.test import Client
from zope.interface.verify import verifyObject

from clustersession.core.errors import (
    ConfigurationError,
    ReplicaUnusable,
    SessionError,
    UnserializableValue,
)
from clustersession.pyramid import ClusterSessionFactory, PyramidSession
from clustersession.session.events import Events
from clustersession.session.visit import visit_of
from clustersession.worker.runtime import Runtime
from clustersession.wsgi import ClusterSessionMiddleware
from tests.adapters.contract import COOKIE_NAME, AdapterContract, Answer, Served, View
from tests.adapters.ways_to_read import BY_NAME, BY_PYTHON

PyramidView = Callable[[Any], object]


class Policy:
    """Keeps in the session who is logged in, as Pyramid's documentation shows."""

    def __init__(self, prefix: str = "auth.") -> None:
        self.helper = SessionAuthenticationHelper(prefix)

    def authenticated_userid(self, request: Any) -> Any:
        return self.helper.authenticated_userid(request)

    def remember(self, request: Any, userid: Any, **kw: Any) -> Any:
        return self.helper.remember(request, userid, **kw)

    def forget(self, request: Any, **kw: Any) -> Any:
        return self.helper.forget(request, **kw)


def make_app(
    views: Mapping[str, PyramidView],
    factory: ClusterSessionFactory,
    also: Callable[[Any], None] = lambda config: None,
) -> Any:
    """Each view, of a request, is served at the path of its name; it may return a Response."""
    with Configurator() as config:
        config.include(factory.add_to)
        config.set_security_policy(Policy())
        for name, view in views.items():
            config.add_route(name, f"/{name}")
            config.add_view(lambda request, view=view: view(request), route_name=name,
                            renderer="json")
        also(config)
        return config.make_wsgi_app()


@contextmanager
def served(
    *views: PyramidView, also: Callable[[Any], None] = lambda config: None, **options: Any
) -> Iterator[Client]:
    factory = ClusterSessionFactory(**options)
    yield Client(make_app({view.__name__: view for view in views}, factory, also))
    factory.runtime.close()


def read(request: Any) -> object:
    return dict(request.session)


def begin(request: Any) -> object:
    request.session["a"] = 1
    return None


def value_of(response: Any) -> str:
    """The id in the cookie that was set."""
    (header,) = response.headers.getlist("Set-Cookie")
    name, _, rest = header.partition("=")
    assert name == COOKIE_NAME
    value: str = rest.partition(";")[0]
    return value


# --- what Pyramid says of sessions ----------------------------------------------------------------


def test_it_is_a_session_of_pyramid() -> None:
    def conforms(request: Any) -> object:
        session = request.session
        assert verifyObject(ISession, session)
        before = (session.new, type(session.created))
        assert (before, len(session)) == ((True, int), 0)
        assert verifyObject(ISession, session)
        session["nested"] = {}
        session["nested"]["a"] = 1
        session.changed()
        session.save()
        return session.created

    def later(request: Any) -> object:
        assert isinstance(request.session, PyramidSession)
        assert not request.session.new
        return request.session.created

    with served(conforms, later, read) as client:
        created = client.get("/conforms").json
        assert client.get("/later").json == created
        assert client.get("/read").json == {"nested": {"a": 1}}


def test_a_session_with_attributes_that_expire_is_still_one_of_pyramid() -> None:
    def limit(request: Any) -> object:
        session = request.session
        session.set("otp", 1, expires_in=600)
        session.flash("sent")
        assert len(session) == 2
        session.set("again", 1, expires_in=600)
        return session.pop_flash()

    def login(request: Any) -> object:
        remember(request, "ann")
        return [request.session.principal, request.session["otp"], len(request.session)]

    with served(limit, login) as client:
        assert client.get("/limit").json == ["sent"]
        assert client.get("/login").json == ["ann", 1, 3]


def test_flash_queues() -> None:
    def flash(request: Any) -> object:
        session = request.session
        session.flash("saved")
        session.flash("saved")
        session.flash("saved", allow_duplicate=False)
        session.flash({"level": 1}, "errors")
        return [session.peek_flash(), session.peek_flash("errors"), session.peek_flash("none")]

    def take(request: Any) -> object:
        session = request.session
        return [session.pop_flash(), session.pop_flash("errors"), session.pop_flash()]

    def peek(request: Any) -> object:
        request.session.flash("more")
        return request.session.peek_flash()

    with served(flash, peek, take, read) as client:
        assert client.get("/flash").json == [["saved", "saved"], [{"level": 1}], []]
        assert client.get("/peek").json == ["saved", "saved", "more"]
        assert client.get("/take").json == [["saved", "saved", "more"], [{"level": 1}], []]
        assert client.get("/read").json == {}


def test_csrf_tokens_are_the_session_s() -> None:
    def token(request: Any) -> object:
        assert get_csrf_token(request) == request.session.get_csrf_token()
        return request.session.get_csrf_token()

    def another(request: Any) -> object:
        return new_csrf_token(request)

    def form(request: Any) -> object:
        return "accepted"

    def require(config: Any) -> None:
        config.set_default_csrf_options(require_csrf=True)

    with served(token, another, form, also=require) as client:
        first = client.get("/token").json
        assert client.get("/token").json == first
        assert client.post("/form", data={"csrf_token": first}).json == "accepted"
        second = client.get("/another").json
        assert second not in ("", first)
        assert client.post("/form", data={"csrf_token": second}).json == "accepted"


def test_tokens_of_two_requests_at_the_same_time_become_one() -> None:
    inner: list[Any] = []

    def fast(request: Any) -> object:
        return request.session.new_csrf_token()

    def slow(request: Any) -> object:
        request.session.get("a")
        inner.append(other.get("/fast", headers=headers).json)
        return request.session.new_csrf_token()

    def token(request: Any) -> object:
        return request.session.get_csrf_token()

    with served(begin, slow, token) as client, served(fast, token) as second:
        other = Client(second.application, use_cookies=False)
        headers = {"Cookie": f"{COOKIE_NAME}={value_of(client.get('/begin'))}"}
        last = client.get("/slow").json
        assert inner != [last]
        assert client.get("/token").json == last
        assert other.get("/token", headers=headers).json == last


# --- logins ---------------------------------------------------------------------------------------


def log_in(request: Any) -> object:
    remember(request, request.params.get("user", "ann"))
    return request.session.principal


def log_out(request: Any) -> object:
    forget(request)
    return request.session.principal


def who(request: Any) -> object:
    return [request.authenticated_userid, request.session.principal]


def test_a_login_has_a_new_id_and_names_the_principal_and_a_logout_takes_it_back() -> None:
    with served(begin, log_in, log_out, who, read) as client:
        before = value_of(client.get("/begin"))
        login = client.get("/log_in")
        assert login.json == "ann"
        during = value_of(login)
        assert during.partition(".")[0] != before.partition(".")[0]
        assert client.get("/who").json == ["ann", "ann"]
        assert client.get("/log_in").headers.getlist("Set-Cookie") == [], "the same user again"
        after = value_of(client.get("/log_out"))
        assert after != during
        assert client.get("/who").json == [None, None]
        assert client.get("/read").json == {"a": 1}
        old = Client(client.application, use_cookies=False)
        for value in (before, during):
            assert old.get("/who", headers={"Cookie": f"{COOKIE_NAME}={value}"}).json[0] is None


def test_the_policy_of_older_applications_logs_in_too() -> None:
    policy = SessionAuthenticationPolicy()

    def by_policy(request: Any) -> object:
        policy.remember(request, 7)
        return [policy.unauthenticated_userid(request), request.session.principal]

    def out(request: Any) -> object:
        policy.forget(request)
        return request.session.principal

    with served(begin, by_policy, out) as client:
        before = value_of(client.get("/begin"))
        login = client.get("/by_policy")
        assert login.json == [7, "7"]
        assert value_of(login) != before
        assert client.get("/out").json is None


def test_another_user_has_another_id() -> None:
    with served(log_in, who) as client:
        ann = value_of(client.get("/log_in"))
        bob = value_of(client.get("/log_in?user=bob"))
        assert bob != ann
        assert client.get("/who").json == ["bob", "bob"]


def test_a_login_counts_though_the_answer_of_the_first_was_lost() -> None:
    with served(begin, log_in, who) as client:
        old = {"Cookie": f"{COOKIE_NAME}={value_of(client.get('/begin'))}"}
        double = Client(client.application, use_cookies=False)
        lost, again = (value_of(double.get("/log_in", headers=old)) for _ in range(2))
        assert again != lost
        for value in (lost, again):
            headers = {"Cookie": f"{COOKIE_NAME}={value}"}
            assert double.get("/who", headers=headers).json == ["ann", "ann"]


def test_a_login_in_a_new_session_or_after_an_end_is_one() -> None:
    def end_and_log_in(request: Any) -> object:
        request.session.invalidate()
        remember(request, "bob")
        return None

    with served(log_in, end_and_log_in, who) as client:
        ann = value_of(client.get("/log_in"))
        assert value_of(client.get("/end_and_log_in")) != ann
        assert client.get("/who").json == ["bob", "bob"]


@pytest.mark.parametrize("way", ["update", "merge", "setdefault", "principal first"])
def test_a_login_by_hand_is_one(way: str) -> None:
    def enter(request: Any) -> object:
        session, user = request.session, {"auth.userid": "ann"}
        if way == "update":
            session.update(user)
        elif way == "merge":
            session |= user
        elif way == "setdefault":
            session.setdefault("auth.userid", "ann")
        else:
            session.principal = "ann"
            remember(request, "ann")
        session.update(unrelated=1)
        return None

    lives = {"absolute_timeout_s": 3600, "anonymous_absolute_timeout_s": 3600}
    with served(begin, enter, who, **lives) as client:
        planted = value_of(client.get("/begin"))
        assert value_of(client.get("/enter")) != planted
        assert client.get("/who").json == ["ann", "ann"]
        holder = Client(client.application, use_cookies=False)
        headers = {"Cookie": f"{COOKIE_NAME}={planted}"}
        assert holder.get("/who", headers=headers).json == [None, None]


@pytest.mark.parametrize("way", ["clear", "pop", "del", "popitem"])
def test_a_logout_by_hand_is_one(way: str) -> None:
    def leave(request: Any) -> object:
        session = request.session
        if way == "clear":
            session.clear()
        elif way == "pop":
            assert session.pop("auth.userid") == "ann"
            assert session.pop("auth.userid", None) is None
        elif way == "popitem":
            while "auth.userid" in session:
                session.popitem()
        else:
            del session["auth.userid"]
        return None

    with served(log_in, leave, who) as client:
        client.get("/log_in")
        client.get("/leave")
        assert client.get("/who").json == [None, None]


def test_logins_are_followed_under_another_prefix_or_not_at_all() -> None:
    with served(log_in, userid_key="") as client:
        assert client.get("/log_in").json is None
    factory = ClusterSessionFactory(userid_key="shop.userid")
    with Configurator() as config:
        config.include(factory.add_to)
        config.set_security_policy(Policy("shop."))
        config.add_route("log_in", "/log_in")
        config.add_view(log_in, route_name="log_in", renderer="json")
        app = config.make_wsgi_app()
    assert Client(app).get("/log_in").json == "ann"
    factory.runtime.close()


# --- when it is committed -------------------------------------------------------------------------


def test_a_session_nobody_asks_for_is_not_opened() -> None:
    def nothing(request: Any) -> object:
        return "session" in request.__dict__

    with served(nothing) as client:
        response = client.get("/nothing")
        assert (response.json, response.headers.get("Vary")) == (False, None)


def test_an_error_page_keeps_changes_and_an_error_without_one_does_not() -> None:
    def shown(request: Any) -> object:
        request.session["shown"] = 1
        raise LookupError

    def unhandled(request: Any) -> object:
        request.session["unhandled"] = 1
        raise ArithmeticError

    def unstorable(request: Any) -> object:
        request.session["bad"] = object()
        return None

    def error_page(error: Exception, request: Any) -> Response:
        request.session.flash("sorry")
        return Response("sorry", status=500)

    def add_page(config: Any) -> None:
        config.add_exception_view(error_page, LookupError)

    with served(begin, shown, unhandled, unstorable, read, also=add_page) as client:
        client.get("/begin")
        assert client.get("/shown").status_code == 500
        with pytest.raises(ArithmeticError):
            client.get("/unhandled")
        with pytest.raises(UnserializableValue, match=r"session\['bad'\]"):
            client.get("/unstorable")
        assert client.get("/read").json == {"a": 1, "shown": 1, "_f_": ["sorry"]}


def test_what_callbacks_change_is_kept_whenever_they_were_added() -> None:
    def calls_back(request: Any) -> object:
        def respond(request: Any, response: Any) -> None:
            request.session["in a response callback"] = 1

        def finish(request: Any) -> None:
            request.session["at the end"] = 1

        request.session.get("a")
        request.add_response_callback(respond)
        request.add_finished_callback(finish)
        return None

    def subscribe(config: Any) -> None:
        def subscriber(event: Any) -> None:
            if event.request.path == "/calls_back":
                event.request.session["by a subscriber"] = 1

        config.add_subscriber(subscriber, NewResponse)

    with served(begin, calls_back, read, also=subscribe) as client:
        assert client.get("/calls_back").headers.getlist("Set-Cookie")
        assert client.get("/read").json == {
            "in a response callback": 1, "at the end": 1, "by a subscriber": 1,
        }


def test_what_a_body_changes_while_it_is_sent_is_kept() -> None:
    def stream(request: Any) -> object:
        session = request.session
        session["first"] = 1

        def parts() -> Iterator[bytes]:
            session["last"] = 2
            yield b"xy"

        return Response(app_iter=parts(), content_length=2)

    with served(stream, read) as client:
        with client.get("/stream") as response:
            assert (response.text, response.headers["Content-Length"]) == ("xy", "2")
        assert client.get("/read").json == {"first": 1, "last": 2}
        with client.head("/stream"):
            pass


def test_a_request_that_is_tried_again_has_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyramid_retry does: each attempt has its own request over a copy of the environ."""
    class Conflict(Exception):
        pass

    seen: list[bool] = []
    retry: Any = types.ModuleType("pyramid_retry")
    retry.is_error_retryable = lambda request, error: request.environ["attempt"] == 0
    monkeypatch.setitem(sys.modules, "pyramid_retry", retry)

    def count(request: Any) -> object:
        request.session["n"] = request.session.get("n", 0) + 1
        if request.environ["attempt"] == 0:
            raise Conflict
        return None

    def policy(environ: Any, router: Any) -> Any:
        for attempt in (0, 1):
            environ["attempt"] = attempt
            with router.request_context(dict(environ)) as request:
                try:
                    response = router.invoke_request(request)
                except Conflict:
                    continue
                finally:
                    if "session" in request.__dict__:
                        seen.append(visit_of(request.session).is_open)
                if request.exception is None:
                    return response
        raise AssertionError

    def add_policy(config: Any) -> None:
        config.set_execution_policy(policy)

    def add_page(config: Any) -> None:
        add_policy(config)
        config.add_exception_view(lambda error, request: Response("busy", 503), Conflict)

    for also in (add_policy, add_page):
        events, begun = Events(), list[object]()
        events.on("created", begun.append)
        with served(count, read, also=also, listeners=events) as client:
            assert client.get("/count").headers.getlist("Set-Cookie")
            assert len(begun) == 1
            assert client.get("/count").status_code == 200
            assert client.get("/read").json == {"n": 2}
    assert not any(seen)


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize("before", ["counts", "ends", "logs in", "saves"])
def test_inside_our_middleware_a_request_that_is_tried_again_changes_the_session_once(
    before: str, page: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Conflict(Exception):
        pass

    retry: Any = types.ModuleType("pyramid_retry")
    retry.is_error_retryable = lambda request, error: (
        isinstance(error, Conflict) and request.environ["retry.attempt"] == 0
    )
    monkeypatch.setitem(sys.modules, "pyramid_retry", retry)

    def count(request: Any) -> object:
        session, attempt = request.session, request.environ["retry.attempt"]
        session["n"] = session.get("n", 0) + 1
        session["list"].append(attempt)
        session.setdefault("only", attempt)
        if attempt:
            return None
        if before == "ends":
            session.invalidate()
        elif before == "logs in":
            remember(request, "ann")
        elif before == "saves":
            session.save()
        raise Conflict

    def policy(environ: Any, router: Any) -> Any:
        for attempt in (0, 1):
            environ |= {"retry.attempt": attempt, "retry.attempts": 2}
            with router.request_context(dict(environ)) as request:
                try:
                    response = router.invoke_request(request)
                except Conflict:
                    continue
                if request.exception is None:
                    return response
        raise AssertionError

    def start(request: Any) -> object:
        request.session["list"] = []
        return None

    def also(config: Any) -> None:
        config.set_execution_policy(policy)
        if page:
            config.add_exception_view(lambda error, request: Response("busy", 503), Conflict)

    views = {"start": start, "count": count, "read": read, "who": who}
    pyramid = make_app(views, ClusterSessionFactory(), also)

    def around(environ: Any, start_response: Any) -> Any:
        environ["clustersession.session"]["around"] = True
        return pyramid(environ, start_response)

    client = Client(ClusterSessionMiddleware(around))
    client.get("/start")
    client.get("/count")
    twice = before == "saves"
    wanted = {"n": 2, "list": [0, 1], "only": 0} if twice else {"n": 1, "list": [1], "only": 1}
    assert client.get("/read").json == {**wanted, "around": True}
    assert client.get("/who").json == [None, None]


def test_a_subrequest_with_the_client_s_cookies_has_the_same_session() -> None:
    def inside(request: Any) -> object:
        request.session["inside"] = 1
        return dict(request.session)

    def outside(request: Any) -> object:
        request.session["outside"] = 1
        copied = request.copy()
        copied.path_info = "/inside"
        response = request.invoke_subrequest(copied)
        assert "Set-Cookie" not in response.headers
        alone = request.invoke_subrequest(Request.blank("/inside"))
        assert "Set-Cookie" in alone.headers
        return dict(request.session)

    with served(begin, outside, inside, read) as client:
        for _ in range(2):
            assert client.get("/outside").json == {"outside": 1, "inside": 1}
        assert client.get("/read").json == {"outside": 1, "inside": 1}


# --- settings -------------------------------------------------------------------------------------


def test_settings_come_from_the_ini_file() -> None:
    config = Configurator(settings={
        "clustersession.idle_timeout_s": "600", "clustersession.cookie_secure": "true",
        "clustersession.userid_key": "shop.userid", "clustersession.ready_path": "/ready",
        "pyramid.includes": "", "sqlalchemy.url": "sqlite://",
    })
    config.include("clustersession.pyramid")
    app = config.make_wsgi_app()
    factory = app.registry["clustersession"]
    assert factory.runtime.settings.idle_timeout_s == 600
    assert factory.runtime.settings.cookie_secure
    assert Client(app).get("/ready").text == "ready\n"
    factory.runtime.close()


@pytest.mark.parametrize(("name", "value", "said"), [
    ("distributible", "true", "did you mean distributable"),
    ("idle_timeout_s", "long", "idle_timeout_s is 'long'"),
    ("url_parameter", "jsessionid", "clustersession.wsgi"),
])
def test_what_is_wrong_is_refused_when_the_application_is_made(
    name: str, value: str, said: str
) -> None:
    config = Configurator(settings={f"clustersession.{name}": value})
    with pytest.raises(ConfigurationError, match=said):
        config.include("clustersession.pyramid")


def test_health_checks_need_the_tween() -> None:
    factory = ClusterSessionFactory(ready_path="/ready")
    with Configurator(session_factory=factory):
        with pytest.raises(ConfigurationError, match=r"config.include\(factory.add_to\)"):
            factory.start()
    factory = ClusterSessionFactory()
    Configurator(session_factory=factory)
    factory.start()
    assert factory.runtime._process is not None
    factory.runtime.close()


def test_a_path_that_is_excluded_has_a_session_that_refuses_changes() -> None:
    def healthy(request: Any) -> object:
        assert verifyObject(ISession, request.session)
        assert (dict(request.session), request.session.peek_flash()) == ({}, [])
        with pytest.raises(SessionError, match="exclude"):
            request.session.flash("hello")
        return "fine"

    with served(healthy, exclude=["/healthy"]) as client:
        assert client.get("/healthy").json == "fine"


def test_a_node_that_cannot_serve_raises_in_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Runtime) -> None:
        raise ReplicaUnusable("no disk")

    with served(begin) as client, monkeypatch.context() as broken:
        broken.setattr(Runtime, "manager", fail)
        with pytest.raises(ReplicaUnusable, match="no disk"):
            client.get("/begin")


def test_inside_our_middleware_both_hold_the_same_object() -> None:
    found: list[Any] = []

    def inside(request: Any) -> object:
        request.session.flash("hello")
        found.append((request.session, request.environ["clustersession.session"]))
        return None

    factory = ClusterSessionFactory()
    middleware = ClusterSessionMiddleware(make_app({"inside": inside, "read": read}, factory))
    client = Client(middleware)
    assert len(client.get("/inside").headers.getlist("Set-Cookie")) == 1
    assert found[0][0] is found[0][1]
    assert client.get("/read").json == {"_f_": ["hello"]}
    middleware.runtime.close()
    assert factory.runtime._process is None


# --- the contract ---------------------------------------------------------------------------------


class ServedByPyramid(Served):
    def __init__(self, views: Mapping[str, View], listeners: Events | None = None) -> None:
        self._factory = ClusterSessionFactory(listeners=listeners)
        self._app = make_app(
            {n: lambda request, view=view: view(request.session) for n, view in views.items()},
            self._factory,
        )

    def get(self, view: str, cookie: str | None = None) -> Answer:
        headers = {"Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else {}
        response = Client(self._app, use_cookies=False).get(f"/{view}", headers=headers)
        return Answer(
            response.status_code, response.json,
            tuple(response.headers.getlist("Set-Cookie")), response.headers.get("Vary", ""),
        )

    def runtime(self) -> Runtime:
        return self._factory.runtime


class TestContract(AdapterContract):
    def clear(self, session: Any) -> None:
        # Emptying it alone ends no session here.
        session.invalidate()

    ways_to_read: Mapping[str, View] = BY_NAME | BY_PYTHON | {
        "created": lambda s: s.created, "changed": lambda s: s.changed(),
        "flash": lambda s: s.flash("x"), "pop_flash": lambda s: s.pop_flash(),
        "peek_flash": lambda s: s.peek_flash(), "new_csrf_token": lambda s: s.new_csrf_token(),
        "get_csrf_token": lambda s: s.get_csrf_token(),
    }

    @contextmanager
    def serve(
        self, views: Mapping[str, View], listeners: Events | None = None
    ) -> Iterator[Served]:
        served = ServedByPyramid(views, listeners)
        try:
            yield served
        finally:
            served.runtime().close()
