"""The servers, as data: how each is started, told to reload, recycled and stopped.

A server that lacks a function says why, and the table prints it.
"""

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

PYTHON = sys.executable
UWSGI = str(Path(sys.executable).with_name("uwsgi"))
WORKERS = 4
RECYCLE_AFTER = 50
TOUCH = "touch"
COUNTER, LOCAL, KILL, AGENT, RECYCLE, STOP, EARLY, RELOAD, LEAKS = (
    "counter", "local", "kill", "agent", "recycle", "stop", "early", "reload", "leaks",
)


@dataclass(frozen=True)
class Server:
    """One configuration of a server.

    ``command`` has "{port}" where the port belongs, and "{workers}" for their number. ``joins``:
    whether the node joins before the first request. ``recycle``: what to add so that a worker ends
    after ``RECYCLE_AFTER`` requests. ``reload``: a signal to the main process, or ``TOUCH`` of the
    application's file.
    ``ends_with_a_worker``: a killed worker takes the server with it, and a supervisor starts it
    again. ``revive``: what makes it start another worker where it does not by itself.
    ``lacks``: scenarios that do not apply, and why.
    """

    name: str
    command: tuple[str, ...]
    workers: int = WORKERS
    joins: bool = True
    recycle: tuple[str, ...] = ()
    reload: signal.Signals | str = signal.SIGHUP
    stop: signal.Signals = signal.SIGTERM
    ends_with_a_worker: bool = False
    revive: str = ""
    lacks: dict[str, str] = field(default_factory=dict)

    def words(self, workers: int = WORKERS) -> list[str]:
        """The command with that many workers, its port still open."""
        return [word.replace("{workers}", str(workers)) for word in self.command]


def _gunicorn(kind: str, *options: str, preload: bool) -> Server:
    flask = kind != "uvicorn"
    command = [
        PYTHON, "-m", "gunicorn", "-w", "{workers}", "-b", "127.0.0.1:{port}",
        "--graceful-timeout", "10", *options,
    ]
    # gunicorn reads gunicorn.conf.py, the hook, where it is started; a lifespan needs none.
    command += [] if flask else ["-c", "/dev/null"]
    command += ["--preload"] if preload else []
    return Server(
        f"gunicorn-{kind}" + ("-preload" if preload else ""),
        (*command, "app:app" if flask else "starlette_app:app"),
        recycle=("--max-requests", str(RECYCLE_AFTER)),
    )


def _uwsgi(name: str, *options: str, hook: bool = True) -> Server:
    return Server(
        f"uwsgi-{name}",
        (
            # The wheel, when it reloads, would otherwise run the Python outside the environment.
            UWSGI, "--binary-path", PYTHON, "--master", "--processes", "{workers}",
            "--http-socket", "127.0.0.1:{port}",
            "--die-on-term", "--worker-reload-mercy", "10", "--need-app", "--disable-logging",
            *options,
            "--module", "uwsgi_app:app" if hook else "app:app",
        ),
        joins=hook,
        recycle=("--max-requests", str(RECYCLE_AFTER)),
    )


def _granian(interface: str, app: str) -> Server:
    return Server(
        f"granian-{interface}",
        (
            PYTHON, "-m", "granian", "--interface", interface, "--host", "127.0.0.1",
            "--port", "{port}", "--workers", "{workers}", "--respawn-failed-workers",
            "--respawn-interval", "0.1", "--workers-kill-timeout", "10", "--no-ws", app,
        ),
        lacks={RECYCLE: "granian recycles by age (60 s at least) and memory, not by requests"},
    )


def _hypercorn(name: str, *options: str) -> Server:
    return Server(
        name,
        (
            PYTHON, "-m", "hypercorn", *options, "-w", "{workers}", "-b", "127.0.0.1:{port}",
            "starlette_app:app",
        ),
        recycle=("--max-requests", str(RECYCLE_AFTER)),
        ends_with_a_worker=True,
    )


_UVICORN = (
    PYTHON, "-m", "uvicorn", "starlette_app:app", "--host", "127.0.0.1", "--port", "{port}",
    "--no-access-log",
)

SERVERS = (
    *(
        _gunicorn(kind, *options, preload=preload)
        for kind, options in (
            ("sync", ()),
            ("gthread", ("-k", "gthread", "--threads", "2")),
            ("gevent", ("-k", "gevent")),
            ("uvicorn", ("-k", "uvicorn.workers.UvicornWorker")),
        )
        for preload in (False, True)
    ),
    Server(
        "uvicorn-workers",
        (*_UVICORN, "--workers", "{workers}", "--timeout-worker-healthcheck", "30"),
        recycle=("--limit-max-requests", str(RECYCLE_AFTER)),
    ),
    Server(
        "uvicorn-reload", (*_UVICORN, "--reload"), workers=1, reload=TOUCH, revive=TOUCH,
        lacks={RECYCLE: "the reloader does not replace a worker that ends; it waits for a change"},
    ),
    _hypercorn("hypercorn"),
    _hypercorn("hypercorn-trio", "-k", "trio"),
    _granian("wsgi", "granian_app:app"),
    _granian("asgi", "starlette_app:app"),
    _uwsgi("prefork"),
    _uwsgi("lazy-apps", "--lazy-apps"),
    _uwsgi("no-hook", hook=False),
    _uwsgi("threads", "--threads", "2"),
    Server(
        "waitress", (PYTHON, "waitress_app.py", "127.0.0.1:{port}"), workers=1,
        ends_with_a_worker=True,
        lacks={
            RECYCLE: "waitress is one process and does not recycle it",
            RELOAD: "waitress cannot reload; it is stopped and started, see stop",
        },
    ),
)
BY_NAME = {server.name: server for server in SERVERS}
