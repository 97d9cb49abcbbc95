"""The package itself: what importing it does, and where it refuses to run."""

import subprocess
import sys


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)


def test_windows_is_refused_in_words() -> None:
    done = run("import sys; sys.platform = 'win32'; import clustersession")
    assert done.returncode == 1
    assert "not on Windows" in done.stderr


def test_importing_the_adapters_starts_and_opens_nothing() -> None:
    done = run(
        "import os, threading\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "import clustersession.asgi, clustersession.wsgi, clustersession.flask\n"
        "from flask import Flask\n"
        "app = Flask('x'); app.config.update(SECRET_KEY='k' * 16, DISTRIBUTABLE=True)\n"
        "clustersession.flask.ClusterSession(app)\n"
        "clustersession.asgi.ClusterSessionMiddleware(None, distributable=True)\n"
        "clustersession.wsgi.ClusterSessionMiddleware(None, distributable=True)\n"
        "after = {os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')\n"
        "         if fd not in before and os.path.exists(f'/proc/self/fd/{fd}')}\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert not any('socket' in path or 'clustersession' in path for path in after), after\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_frameworks_are_imported_by_their_adapters_only() -> None:
    done = run(
        "import sys, clustersession.asgi, clustersession.wsgi, clustersession.cli\n"
        "import clustersession.beaker\n"
        "found = {'flask', 'starlette', 'fastapi', 'django', 'pyramid', 'bottle', 'beaker',"
        "         'aiohttp', 'tornado'}\n"
        "found &= set(sys.modules)\n"
        "assert not found, found\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_loads_what_a_command_needs_when_it_runs() -> None:
    done = run(
        "import sys, clustersession.cli\n"
        "found = {'asyncio', 'lmdb', 'jinja2', 'cryptography'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_imports_nothing_from_the_tools() -> None:
    done = run(
        "import sys, clustersession.asgi, clustersession.wsgi, clustersession.flask\n"
        "import clustersession.fastapi, clustersession.quart, clustersession.litestar\n"
        "import clustersession.beaker\n"
        "import clustersession.aiohttp, clustersession.tornado, clustersession.sanic\n"
        "import clustersession.django, clustersession.agent.process\n"
        "found = {m for m in sys.modules if m.startswith(('clustersession.tools',\n"
        "         'clustersession.operations', 'clustersession.cli'))}\n"
        "assert not found, found\n"
    )
    assert done.returncode == 0, done.stderr
