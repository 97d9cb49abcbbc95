"""Who is let in, what is refused, and what never stands in a page: raw HTTP, real server."""

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clustersession.core.ids import log_name
from clustersession.session.users import handle_of
from clustersession.tools.dashboard.guard import COOKIE
from clustersession.tools.demo.nodes import Node
from tests.support.apps import fastapi_under_uvicorn
from tests.support.processes import wait_for
from tests.system.client import agent_status, data, new_session
from tests.system.conftest import StartNodes
from tests.tools.dashboard.running import running_dashboard
from tests.tools.dashboard.visitor import TOKEN, Visitor

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def key_of(cookie: str) -> str:
    return cookie[:23]


def test_nobody_gets_in_without_the_link_and_it_works_once(link: str, node: Node) -> None:
    cookie = new_session(node, user="ann")
    handle = handle_of(key_of(cookie))
    stranger = Visitor(link)
    for path in ("/", "/events", f"/session/{handle}", "/nothing"):
        answer = stranger.get(path)
        assert answer.status == 401, path
        assert "tomcat1" not in answer.body
    for path in ("/find", "/drain", "/end-principal", f"/session/{handle}/end"):
        assert stranger.ask("POST", path, {"sure": "yes"}).status == 401, path
    assert stranger.get("/enter?token=wrong").status == 403
    assert stranger.get("/enter").status == 403

    visitor = Visitor(link)
    assert visitor.ask("HEAD", f"/enter?{visitor.link.query}").status == 403
    entered = visitor.enter()
    assert (entered.status, entered.headers["location"]) == (303, "/")
    attributes = entered.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=strict" in attributes
    assert "tomcat1" in visitor.get("/").body
    late = Visitor(link)
    assert late.enter().status == 403
    for forged in (f"{COOKIE}=x{visitor.cookie.partition('=')[2]}", f"{COOKIE}=a.b.c",
                   visitor.cookie[:-2], f"{COOKIE}=é"):
        late.cookie = forged.encode().decode("latin-1")
        assert late.get("/").status == 401
    # The cookie that lets a browser send the login form opens nothing.
    late.cookie = Visitor(link).get("/").cookie
    assert late.get("/").status == 401


def test_forms_of_other_sites_are_refused_and_no_get_changes_anything(
    link: str, node: Node
) -> None:
    cookie = new_session(node, user="ann")
    handle = handle_of(key_of(cookie))
    visitor = Visitor(link)
    visitor.enter()
    token = visitor.get("/").form_token
    end = f"/session/{handle}/end"
    for wrong in ("", "0" * 64, token[::-1], token[:-1]):
        assert visitor.ask("POST", end, {"form_token": wrong, "sure": "yes"}).status == 403
    good = {"form_token": token, "sure": "yes"}
    assert visitor.ask("POST", end, good, Origin="http://evil.example").status == 403
    assert visitor.ask("POST", end, good, Origin="null").status == 403
    for site in ("cross-site", "same-site", "none"):
        assert visitor.ask("POST", end, good, Sec_Fetch_Site=site).status == 403
    assert visitor.ask("POST", end, {**good, "more": "x" * 9000}).status == 413
    assert visitor.ask("POST", end, good, Content_Type="text/plain").status == 413
    for path in ("/find", "/drain", "/end-principal", "/logout", end, f"/session/{handle}/values"):
        assert visitor.get(f"{path}?form_token={token}&sure=yes").status == 405, path
    assert visitor.ask("POST", end, {"form_token": token}).status == 400
    assert data(node, cookie) == {"user": "ann"}
    done = visitor.ask("POST", end, good, Origin=f"http://{visitor.link.netloc}")
    assert "1 session ended" in done.body
    assert data(node, cookie) == {}
    explained = visitor.get(f"/session/{handle}").body
    assert "Ended at" in explained
    assert "by node tomcat1" in explained
    assert "it was revoked" in explained


def test_other_host_names_are_refused(link: str) -> None:
    visitor = Visitor(link)
    visitor.enter()
    for host in ("evil.example", f"evil.example:{visitor.link.port}", "127.0.0.1.evil.example",
                 "", "[::2]", "localhost.evil"):
        answer = visitor.get("/", Host=host)
        assert answer.status == 400, host
        assert "dashboard_hosts" in answer.body
    for host in ("localhost", f"localhost:{visitor.link.port}", "LOCALHOST", "[::1]:80"):
        assert visitor.get("/", Host=host).status == 200, host


def test_every_answer_carries_the_policy_and_a_nonce_of_its_own(link: str) -> None:
    visitor = Visitor(link)
    visitor.enter()
    nonces = set()
    for path in ("/", "/login", "/style.css", "/nothing", "/session/00000000"):
        answer = visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
        nonces.add(nonce)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        # No script or style but what is named by its nonce, and nothing from elsewhere.
        assert not re.findall(r"<script(?! nonce=)|<style|\son\w+=|style=|https?://", answer.body)
    assert len(nonces) == 5


def test_values_and_ids_stay_out_of_the_pages(link: str, node: Node) -> None:
    cookie = new_session(node, user="ann-the-user", cart=["tea-leaves"])
    visitor = Visitor(link)
    visitor.enter()
    found = visitor.post("/find", id=cookie)
    assert found.status == 303
    name, handle = log_name(key_of(cookie)), handle_of(key_of(cookie))
    assert found.headers["location"] == f"/session/{handle}"
    assert visitor.post("/find", id=name).headers["location"] == f"/session/{handle}"
    pages = [visitor.get("/").body, visitor.get(f"/session/{handle}").body]
    hidden = visitor.post(f"/session/{handle}/values")
    assert hidden.status == 403
    secret = node.program.environment["CLUSTERSESSION_SECRET"]
    for page in (*pages, hidden.body):
        for never in (key_of(cookie), "ann-the-user", "tea-leaves", secret, TOKEN):
            assert never not in page
    assert "list of 1" in pages[1]


def test_values_are_shown_where_that_is_set_on_a_click(node: Node, tmp_path: Path) -> None:
    cookie = new_session(node, user="<script>alert(1)</script>")
    handle = handle_of(key_of(cookie))
    allowed = {"CLUSTERSESSION_DASHBOARD_VALUES": "true"}
    with running_dashboard(node, tmp_path, **allowed) as (link, program):
        visitor = Visitor(link)
        visitor.enter()
        assert "alert" not in visitor.get(f"/session/{handle}").body
        shown = visitor.post(f"/session/{handle}/values")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown.body
        assert "<script>" not in shown.body
        wait_for(lambda: "values of session" in program.log_tail(), "the line about it")


def test_ids_that_are_not_found_are_explained(link: str, node: Node) -> None:
    cookie = new_session(node, user="ann")
    visitor = Visitor(link)
    visitor.enter()
    forged = cookie[:24] + ("A" if cookie[24] != "A" else "B") + cookie[25:]
    answer = visitor.post("/find", id=forged)
    assert "Live until" in answer.body
    assert "The id that was given is refused all the same" in answer.body
    made_up = "x" * 39 + ".tomcat1"
    answer = visitor.post("/find", id=made_up)
    assert answer.status == 404
    assert "fits none of the configured secrets" in answer.body
    for text, why in (("deadbeef", "no session of that name"), ("what?", "no session id")):
        answer = visitor.post("/find", id=text)
        assert answer.status == 404
        assert why in answer.body


def test_a_token_is_typed_in_and_this_node_drained(
    start_nodes: StartNodes, tmp_path: Path
) -> None:
    (node,) = start_nodes(fastapi_under_uvicorn, "tomcat1")
    with running_dashboard(node, tmp_path, CLUSTERSESSION_DASHBOARD_TOKEN=TOKEN) as (link, _):
        visitor = Visitor(link)
        form = visitor.get("/login")
        visitor.cookie = form.cookie
        wrong = {"form_token": form.form_token, "token": "another token entirely"}
        assert visitor.ask("POST", "/login", wrong).status == 403
        right = {"form_token": form.form_token, "token": TOKEN}
        assert Visitor(link).ask("POST", "/login", right).status == 403
        entered = visitor.ask("POST", "/login", right)
        assert entered.status == 303
        visitor.cookie = entered.cookie
        assert TOKEN not in visitor.get("/").body
        assert visitor.post("/drain").status == 400
        assert agent_status(node)["phase"] == "ready"
        assert visitor.post("/drain", sure="yes").status == 200
        wait_for(lambda: agent_status(node)["phase"] == "draining", "the node to drain")
        out = visitor.post("/logout")
        assert f"{COOKIE}=" in out.headers["set-cookie"]
        assert "max-age=0" in out.headers["set-cookie"].lower()


def test_the_port_is_that_of_loopback_only(link: str) -> None:
    port = urlsplit(link).port
    assert port
    with socket.socket() as other:
        # Were it bound to every address, this one would be taken too.
        other.bind(("127.0.0.2", port))
