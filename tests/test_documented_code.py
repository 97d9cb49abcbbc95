"""Code, configurations and units that the documentation shows run as they stand."""

import os
import re
import secrets
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clustersession.settings import sources as configuration
from clustersession.settings.settings import Settings
from tests.documents import ROOT, Block, blocks
from tests.support.processes import free_port, require_programs

TESTED_AS_FILES = "testing-your-application.md"
"""The files that it shows are run by tests/test_pytest.py."""

TUTORIALS = ROOT / "docs" / "tutorials"
"""The files that these pages show are saved and run by tests/tutorials."""


def block_about(language: str) -> str:
    (found,) = [block.text for block in blocks(language)]
    return found


DRIVER = textwrap.dedent("""
    import contextlib
    import sys
    import types

    def visit(client, status_of, cookie_of):
        assert status_of(client.get("/")) == 200
        first = cookie_of(client)
        assert first and first.endswith(".docs_node"), first
        assert status_of(client.get("/")) == 200
        assert cookie_of(client) == first
        for path in ("/login", "/logout"):
            assert status_of(client.post(path)) in (200, 404, 405), path

    def call_tools(client):
        headers = {
            "accept": "application/json, text/event-stream", "host": "127.0.0.1:8000",
            "mcp-protocol-version": "2025-06-18",
        }
        def post(method, **params):
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return client.post("/mcp", json=message, headers=headers)
        began = post(
            "initialize", protocolVersion="2025-06-18", capabilities={},
            clientInfo={"name": "driver", "version": "1"},
        )
        headers["mcp-session-id"] = began.headers["mcp-session-id"]
        for number in ("1", "2"):
            assert f'"text":"{number}"' in post("tools/call", name="count", arguments={}).text

    # A module, as far as frameworks can tell that look up the annotations of handlers.
    module = types.ModuleType("documented")
    sys.modules["documented"], namespace = module, module.__dict__
    exec(compile(sys.stdin.read(), "block", "exec"), namespace)
    app = namespace.get("app")
    if app is None:
        pass
    elif type(app).__module__.startswith("flask"):
        from werkzeug.test import Client
        client = Client(app)
        visit(client, lambda r: r.status_code, lambda c: c.get_cookie("CLUSTERSESSION").value)
    elif type(app).__module__ in ("clustersession.beaker", "clustersession.wsgi", "pyramid.router"):
        from werkzeug.test import Client
        client = Client(app)
        visit(client, lambda r: r.status_code, lambda c: c.get_cookie("CLUSTERSESSION").value)
    elif type(app).__module__.startswith(("aiohttp", "tornado")):
        from functools import partial
        from tests.adapters import own_servers
        own = type(app).__module__.startswith("aiohttp")
        serve = own_servers.aiohttp_server if own else own_servers.tornado_server
        with own_servers.in_own_thread(partial(serve, app)) as port:
            client = own_servers.Browser(port)
            visit(client, lambda r: r.status, lambda c: c.cookies.get("CLUSTERSESSION"))
    else:
        from starlette.testclient import TestClient
        client = TestClient(app)
        # Falcon's lifespan never returns, and this client would wait for that.
        falcon = type(getattr(app, "app", None)).__module__.startswith("falcon")
        with contextlib.nullcontext() if falcon else client:
            if type(app).__module__.startswith("clustersession.mcp"):
                visit = lambda client, *_: call_tools(client)
            visit(client, lambda r: r.status_code, lambda c: c.cookies.get("CLUSTERSESSION"))
    print("driven" if app is not None else "run")
""")


RECIPE_PAGES = ROOT / "docs" / "recipes"
PYTHON_BLOCKS = blocks("python")


def test_a_page_of_a_recipe_shows_its_application() -> None:
    """Recipes need libraries that the tests have not; ``make recipes`` runs them."""
    shown = [block for block in PYTHON_BLOCKS if block.document.parent == RECIPE_PAGES]
    assert shown
    for block in shown:
        name = block.document.stem.replace("-", "_")
        recipe = ROOT / "tests" / "recipes" / name
        sources = "".join(path.read_text() for path in sorted(recipe.rglob("*.py")))
        assert block.text in sources, f"{block} is no part of tests/recipes/{name}"


BLOCKS = [
    block for block in PYTHON_BLOCKS
    if block.document.parent not in (RECIPE_PAGES, TUTORIALS)
    and block.document.name != TESTED_AS_FILES
]


def environment_of_a_node(tmp_path: Path) -> dict[str, str]:
    """Variables of a node that is alone and whose process leaves nothing."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLUSTERSESSION_")}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "CLUSTERSESSION_AGENT": "thread",
        "CLUSTERSESSION_BIND": "127.0.0.1",
        "CLUSTERSESSION_SECRET": secrets.token_urlsafe(32),
        "CLUSTERSESSION_STATE_DIR": str(tmp_path),
        "CLUSTERSESSION_PORT": str(free_port()),
        "CLUSTERSESSION_MULTICAST_PORT": str(free_port(socket.SOCK_DGRAM)),
        "CLUSTERSESSION_ROUTE": "docs_node",
    }


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_python_block_runs_and_its_app_keeps_a_session(block: Block, tmp_path: Path) -> None:
    environment = environment_of_a_node(tmp_path)
    if "jvmRoute" in block.text:
        del environment["CLUSTERSESSION_ROUTE"]
    text = block.text.replace('jvmRoute="tomcat1"', 'jvmRoute="docs_node"')
    result = subprocess.run(
        [sys.executable, "-c", DRIVER], input=text, env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=50,
    )
    assert result.returncode == 0, result.stderr
    *_, last = result.stdout.splitlines()  # Sanic says at its start what it is
    assert last == ("driven" if "\napp = " in text else "run")


FORGED_FORM = """
from starlette.testclient import TestClient

with TestClient(app, follow_redirects=False) as client:
    assert client.post("/login").status_code == 303
    # Whose browser has not seen the page has no token, and neither has another site's form.
    for form in ({}, {"csrf": ""}, {"csrf": "x"}):
        answer = client.post("/devices/end", data={"handle": "others", **form})
        assert answer.status_code == 403, form
    token = client.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
    answer = client.post("/devices/end", data={"handle": "others", "csrf": token})
    assert answer.status_code == 303
"""


def test_the_page_of_devices_refuses_forms_of_other_sites(tmp_path: Path) -> None:
    (page,) = [block.text for block in PYTHON_BLOCKS if "async def end(request)" in block.text]
    subprocess.run(
        [sys.executable, "-c", page + FORGED_FORM], env=environment_of_a_node(tmp_path),
        cwd=tmp_path, check=True, timeout=50,
    )


def test_the_gunicorn_hook_is_the_tested_example() -> None:
    (shown,) = [block.text for block in blocks("python") if "def post_worker_init" in block.text]
    example = (ROOT / "examples" / "flask_app" / "gunicorn.conf.py").read_text()
    assert shown.strip() == example.partition('"""\n')[2].strip()


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_block_is_a_configuration(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("CLUSTERSESSION_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "clustersession.toml"
    path.write_text(block.text)
    assert configuration.load_settings(config=path) != Settings()


def essential(configuration_text: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in configuration_text.splitlines())
    return [line for line in lines if line]


EXAMPLES_OF = {
    "apache": "apache/mod_proxy_balancer.conf",
    "properties": "apache/workers.properties",
    "haproxy": "haproxy/haproxy.cfg",
    "nginx": "nginx/nginx.conf",
}


@pytest.mark.parametrize("language", EXAMPLES_OF)
def test_balancer_block_is_part_of_the_tested_example(language: str) -> None:
    whole = essential((ROOT / "examples" / EXAMPLES_OF[language]).read_text())
    shown = essential(block_about(language))
    rest = iter(whole)
    assert all(line in rest for line in shown), "every line is there, in this order"


def test_the_new_nginx_recipe_differs_in_the_upstream_only() -> None:
    """No nginx to test it with: at least it names the same nodes and the same cookie."""
    old, new = (
        (ROOT / "examples" / "nginx" / name).read_text() for name in ("nginx.conf", "sticky.conf")
    )
    nodes = re.compile(r"10\.0\.0\.\d:800\d|tomcat\d(?=[ ;])|\$cookie_\w+")
    assert set(nodes.findall(new)) == set(nodes.findall(old))


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = ROOT / "examples" / "systemd" / "clustersession-agent.service"
    program = re.search(r"^ExecStart=(\S+) agent$", unit.read_text(), re.MULTILINE)
    assert program is not None
    require_programs("systemd-analyze")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(program[1], sys.executable))
    result = subprocess.run(
        ["systemd-analyze", "verify", str(copy)],
        capture_output=True, text=True, check=False, timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")
