"""What users, operators and accidents do to a balanced cluster, the same for every balancer.

Each scenario takes a settled stand, raises StepFailed when something that must hold does not, and
returns what was measured in a few words.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

from websockets.sync.client import connect as connect_websocket

from clustersession.tools.demo.nodes import COOKIE_NAME
from clustersession.tools.demo.scenario import Browser, Reply, expect
from tests.balancers.stand import ROUTES, SETTLE_S, Stand
from tests.support.processes import StepFailed, wait_for

CLICK_PATIENCE_S = 90.0
CLICKS_EVERY_S = 1.0
HUNG_DEADLINE_S = 40.0

Scenario = Callable[[Stand], str]


def sticky(stand: Stand) -> str:
    """20 users make 10 requests each: every one is answered by the node that the cookie names."""
    users = [stand.user(number=number) for number in range(20)]
    hits = 0
    for _ in range(10):
        for number, user in enumerate(users):
            answer = _page(user, {"number": number})
            hits += answer.body["node"] == user.route
            expect(answer.cookie, None, "a request that changes nothing sets no cookie")
    expect(hits, 200, "requests answered by the node of the cookie")
    return f"{hits} of 200 on {len({user.route for user in users})} nodes"


def query(stand: Stand) -> str:
    """The cookie's name is a query parameter too: it neither moves the user nor does harm."""
    user = stand.user(color="blue")
    home = user.route
    other = next(route for route in ROUTES if route != home)
    for _ in range(10):
        answer = _page(user, {"color": "blue"}, f"/api/session?{COOKIE_NAME}=x.{other}")
        expect(answer.body["node"], home, "the cookie decides, not the parameter")
    # httpd prefers this spelling, the one after the bar in "stickysession", to the cookie.
    answer = _page(user, {"color": "blue"}, f"/api/session?{COOKIE_NAME.lower()}=x.{other}")
    steered = answer.body["node"] != home
    expect(user.route, home, "whoever answers, the cookie stays")
    return "stays" + (f"; ?{COOKIE_NAME.lower()}= steers, data whole" if steered else "")


def unknown_route(stand: Stand) -> str:
    """A suffix that names no node is balanced, answered with all data, and replaced."""
    user = stand.user(color="blue")
    user.cookie = f"{user.identifier}.nowhere"
    first = _page(user, {"color": "blue"})
    expect(user.route in ROUTES, True, "the cookie names a node again")
    for _ in range(5):
        expect(_page(user, {"color": "blue"}).body["node"], user.route, "and it is that one")
    return f"answered by {first.body['node']}, cookie names {user.route}"


def kill(stand: Stand) -> str:
    """kill -9 of a whole node: the next request of each of its users is answered elsewhere."""
    home = stand.node(stand.user(color="blue").route)
    users = stand.users_of(home, 5)
    identifiers = [user.identifier for user in users]
    home.kill()
    began_s = time.monotonic()
    for number, user in enumerate(users):
        answer = _page(user, {"number": number})
        expect(answer.body["node"] != home.route, True, "another node answers")
    took_s = time.monotonic() - began_s
    for number, user in enumerate(users):
        _page(user, {"number": number})
        expect(user.route != home.route, True, "the cookie names a survivor")
    expect([user.identifier for user in users], identifiers, "the ids stay")
    return f"0 errors, 5 requests in {took_s:.1f} s"


def back(stand: Stand) -> str:
    """A killed node returns: its users stay where they went, and new ones come to it."""
    user = stand.user(color="blue")
    home = stand.node(user.route)
    home.kill()
    _page(user, {"color": "blue"})
    moved_to = wait_for(lambda: _moved(user, home.route), "the cookie to move")
    home.start()
    wait_for(lambda: stand.is_ready(home), "it to be ready again", SETTLE_S)
    expect(_page(user.at(home.direct_port), {"color": "blue"}).body["node"], home.route,
           "it has the session")
    for _ in range(20):
        expect(_page(user, {"color": "blue"}).body["node"], moved_to, "the user stays")
    began_s = time.monotonic()
    stand.users_of(home, 1)
    return f"stays on the survivor; new users after {time.monotonic() - began_s:.1f} s"


def hung(stand: Stand) -> str:
    """Every process of a node stands still: its users are served elsewhere after some seconds."""
    user = stand.user(color="blue")
    home = stand.node(user.route)
    with ThreadPoolExecutor(60) as clicks:
        stand.pause(home)
        began_s = time.monotonic()
        made: list[tuple[float, Future[tuple[int, Any, float]]]] = []
        try:
            while not any(_served(click, home.route) for _, click in made):
                if time.monotonic() - began_s > HUNG_DEADLINE_S:
                    raise StepFailed(f"no other node answered within {HUNG_DEADLINE_S:.0f} s")
                made.append((time.monotonic() - began_s, clicks.submit(_click, user)))
                futures.wait([made[-1][1]], timeout=CLICKS_EVERY_S)
            took_s = min(
                at_s + click.result()[2] for at_s, click in made if _served(click, home.route)
            )
            hanging = sum(not click.done() for _, click in made)
            answer = _page(user, {"color": "blue"})
            expect(answer.body["node"] != home.route, True, "the next request goes elsewhere")
        finally:
            stand.wake(home)
        statuses = Counter(click.result()[0] for _, click in made)
    expect(set(statuses) <= {200, 502, 503, 504}, True, f"the answers are {dict(statuses)}")
    errors = sum(count for status, count in statuses.items() if status != 200)
    return f"elsewhere after {took_s:.0f} s, {hanging} clicks before hang, {errors} errors"


def drain(stand: Stand) -> str:
    """clustersession drain: each user moves with one request, and nobody sees an error."""
    home = stand.node(stand.user(color="blue").route)
    users = stand.users_of(home, 10)
    command = [sys.executable, "-m", "clustersession", "drain", "--timeout", "30"]
    environment = {**os.environ, **home.program.environment}
    give_up_at_s = time.monotonic() + SETTLE_S
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        busy, idle = users[:5], users[5:]
        while any(user.route == home.route for user in busy) or process.poll() is None:
            for number, user in enumerate(busy):
                _page(user, {"number": number})
            expect(time.monotonic() < give_up_at_s, True, "the busy users have moved by now")
        output, _ = process.communicate()
    expect(process.returncode, 0, f"the command ends well: {output}")
    for number, user in enumerate(idle, len(busy)):
        _page(user, {"number": number})
        expect(user.route != home.route, True, "the first request moves an idle user")
    for number, user in enumerate(users):
        for _ in range(2):
            expect(_page(user, {"number": number}).body["node"], user.route, "and stays there")
    for _ in range(12):
        expect(stand.user(late=1).route != home.route, True, "new users go elsewhere too")
    expect(home.program.process is not None and home.program.process.poll(), None, "it still runs")
    return "5 busy and 5 idle users moved, idle ones with 1 request each; 0 errors"


def parallel(stand: Stand) -> str:
    """20 requests at once with the cookie of a dead node: one session, one new suffix, all kept."""
    user = stand.user(color="blue")
    home = stand.node(user.route)
    home.kill()
    browsers = [Browser(user.port, user.cookie) for _ in range(20)]
    with ThreadPoolExecutor(20) as at_once:
        answers = list(at_once.map(
            lambda pair: pair[1].post("/api/set", {"key": f"key{pair[0]}", "value": pair[0]}),
            enumerate(browsers),
        ))
    expect([answer.status for answer in answers], [200] * 20, "all are answered")
    expect({browser.identifier for browser in browsers}, {user.identifier}, "one id")
    suffixes = {answer.cookie.partition(".")[2] for answer in answers if answer.cookie}
    expect(len(suffixes) <= 1 and home.route not in suffixes, True, f"one new suffix: {suffixes}")
    everything = {"color": "blue", **{f"key{number}": number for number in range(20)}}
    for browser in browsers:
        _page(browser, everything)
    (owner,) = {browser.route for browser in browsers}
    expect(owner != home.route, True, "the cookie names a survivor")
    nodes = len({answer.body["node"] for answer in answers})
    return f"20 answered by {nodes} node{'s' * (nodes > 1)}, one id, one suffix, 20 keys"


def fail_back(stand: Stand) -> str:
    """A, kill A, B, restart A, write on A, kill A: B serves A's last write."""
    user = stand.user(value=1)
    a = stand.node(user.route)
    a.kill()
    _page(user, {"value": 1})
    b = wait_for(lambda: _moved(user, a.route), "the cookie to move")
    a.start()
    wait_for(lambda: stand.is_ready(a), "A to be ready again", SETTLE_S)
    returning = Browser(user.port)

    def comes_to_a() -> bool:
        # Until balancer and survivors know that A is back, the cookie is moved away from it again.
        returning.cookie = f"{user.identifier}.{a.route}"
        return returning.get("/api/session").body["node"] == a.route

    wait_for(comes_to_a, "A to serve", SETTLE_S)
    for value in range(2, 6):
        answer = returning.post("/api/set", {"key": "value", "value": value})
        expect((answer.status, answer.body["node"]), (200, a.route), "A takes the write")
    a.kill()
    expect(_page(returning, {"value": 5}).body["node"] != a.route, True, "a survivor serves it")
    at_b = Browser(user.port, f"{user.identifier}.{b}")
    expect(_page(at_b, {"value": 5}).body["node"], b, "and so does B")
    return f"{a.route}, {b}, {a.route}, {b}: the last write is there"


def websocket(stand: Stand) -> str:
    """An open websocket stays on the node of the cookie; after kill -9 it is opened elsewhere."""
    user = stand.user(color="blue")
    home = stand.node(user.route)
    expect(_say(user, "tea", "cake"), [home.route, ["tea", "cake"]], "the node of the cookie")
    whole = {"color": "blue", "cart": ["tea", "cake"]}
    # One of the others held it before the answer; this may be another one.
    other = user.at(stand.others(home)[0].direct_port)

    def is_held() -> bool:
        return other.get("/api/session").body.get("data") == whole

    wait_for(is_held, "another node to hold the cart", SETTLE_S)
    home.kill()
    node, cart = _say(user, "jam")
    expect(node != home.route, True, "another node answers")
    expect(cart, ["tea", "cake", "jam"], "with the same session")
    return f"on {home.route}, then on {node}"


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        sticky, query, unknown_route, websocket, kill, back, parallel, fail_back, drain, hung,
    )
}


def _page(user: Browser, data: dict[str, Any], path: str = "/api/session") -> Reply:
    answer = user.get(path)
    expect(answer.status, 200, "a request is answered")
    expect(answer.body.get("data"), data, "with all that the session holds")
    return answer


def _moved(user: Browser, from_route: str) -> str:
    user.get("/api/session")
    return user.route if user.route != from_route else ""


def _click(user: Browser) -> tuple[int, Any, float]:
    """Status, answering node, and seconds, of one request of a patient user."""
    began_s = time.monotonic()
    connection = HTTPConnection("127.0.0.1", user.port, timeout=CLICK_PATIENCE_S)
    try:
        headers = {"Cookie": f"{COOKIE_NAME}={user.cookie}"}
        connection.request("GET", "/api/session", headers=headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    node = json.loads(content)["node"] if response.status == 200 else None
    return response.status, node, time.monotonic() - began_s


def _served(click: "Future[tuple[int, Any, float]]", not_by: str) -> bool:
    return click.done() and click.result()[0] == 200 and click.result()[1] != not_by


def _say(user: Browser, *items: str) -> list[Any]:
    """Send items over a websocket; returns who answered the last one, and the cart."""
    headers = {"Cookie": f"{COOKIE_NAME}={user.cookie}"}
    address = f"ws://127.0.0.1:{user.port}/live"
    with connect_websocket(address, additional_headers=headers, proxy=None) as socket:
        answer: dict[str, Any] = {}
        for item in items:
            socket.send(item)
            answer = json.loads(socket.recv(timeout=15))
    return [answer["node"], answer["cart"]]
