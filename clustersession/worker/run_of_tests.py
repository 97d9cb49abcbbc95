"""Keeps the sessions of a run of tests apart from the nodes of this host.

A test ends all sessions of a user, fills a limit, moves the clock. In the replica of the server
that the developer has running beside it, or in the cluster of that server, this would be done to
the developer. So whatever runs tests has a directory of its own that goes with it, and replicates
to nobody. Which directory that is says, in this order,

* the environment variable ``CLUSTERSESSION_TEST_STATE_DIR``: a directory, or "configured" for what
  the settings say. The plugin for pytest sets it, so that programs started by tests have it too;
* nobody, where pytest or Django's test runner runs in this process: one is made for the process.
"""

import atexit
import fcntl
import os
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path

from clustersession.core.errors import ReplicaUnusable
from clustersession.net.agent_link import AgentGone, ask_once
from clustersession.replica.private_directory import check_way, make_private, private_opener
from clustersession.settings.sources import TEST_STATE_DIR_VARIABLE
from clustersession.wire.local import Operation
from clustersession.worker.host_clock import kernel_ms

CONFIGURED = "configured"
LOCK_FILE = "in-use"
STALE_REMOVED_MAX = 20
"""What runs that were killed have left is taken away by later ones, some with each."""
YOUNG_S = 60.0
"""A directory younger than this may not be locked by its maker yet."""
LOOKS_FOR_AGENTS_MAX = 250
_LOOK_INTERVAL_S = 0.02
_SOCKET = "agent.sock"
_PYTESTS_FINDER = "_pytest.assertion.rewrite"
"""Without ``--assert=plain`` it is in use from before the first conftest.py to the run's end."""
_NAME_DIGITS = 12

_watches = True
"""Whether tests that run in this process are noticed."""

_own: dict[int, Path] = {}
"""The directory that was made for this process, by its id; of pytest, for its forks as well."""
_held: dict[Path, int] = {}
"""Descriptors of the locks that say that a directory is in use. Forks hold them as well."""
_blocks = 0
"""How many blocks of code this process is in that asked for being kept apart."""
_round = 0
"""How often this process has begun anew in its directory."""


def name_prefix() -> str:
    """Return how the names of the directories begin that go with their runs; the user's own."""
    return f"clustersession-tests-{os.getuid()}-"


def tests_state_dir() -> Path | None:
    """Return where this process keeps its sessions apart; None where it need not, or must not.

    Made at the first call. Raises ReplicaUnusable.
    """
    if not is_kept_apart():
        return None
    wanted = os.environ.get(TEST_STATE_DIR_VARIABLE, "")
    place = Path(wanted).absolute() if wanted else own_place()
    if wanted and not os.path.isabs(wanted):
        # A test may go to another working directory, or start a program in one.
        os.environ[TEST_STATE_DIR_VARIABLE] = str(place)
    hold(place)
    return place / f"round-{_round}"


def is_kept_apart() -> bool:
    """Tell whether this process keeps its sessions apart; makes nothing."""
    wanted = os.environ.get(TEST_STATE_DIR_VARIABLE, "")
    return wanted != CONFIGURED and bool(wanted or (_watches and is_test_run()))


@contextmanager
def block_kept_apart() -> Iterator[None]:
    """Count the block as tests: who wrote it knows that there are no peers."""
    global _blocks
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1


def hold(place: Path) -> None:
    """Make the directory if need be, and lock it for as long as this process lives.

    The rights of one that somebody made are his; what is made in it is private. Raises
    ReplicaUnusable.
    """
    if place in _held:
        return
    if not place.is_dir() or place.name.startswith(name_prefix()):
        make_private(place)
    try:
        check_way(place)
        _held[place] = private_opener(place / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise ReplicaUnusable(
            f"{place}, where tests keep their sessions, cannot be used: {error.strerror}"
        ) from error
    fcntl.flock(_held[place], fcntl.LOCK_SH)
    if place.name.startswith(name_prefix()):
        remove_stale(place.parent)


def apart(place: Path, state_dir: str) -> Path:
    """Return what stands for a configured ``state_dir`` there: another one for each."""
    if not state_dir:
        return place
    return place / sha256(os.path.abspath(state_dir).encode()).hexdigest()[:_NAME_DIGITS]


def begin_anew() -> None:
    """Have nodes that are opened from now on begin with no sessions.

    What was before is removed when nobody uses it: of some thousand tests it would fill a
    temporary directory in memory. The first round stays, which programs started by tests share, and
    in a directory that is kept; of the other ones a former run may have left some.
    """
    global _round
    former, following = _round, _round + 1
    _remove_round(following)
    _round = following
    if former:
        _remove_round(former)


def _remove_round(number: int) -> None:
    for place in list(_held):
        _remove_unused(place / f"round-{number}")


def _remove_unused(directory: Path) -> None:
    """Remove a directory of nodes; a child of a fork may have one open, see ``replica.home``."""
    with suppress(OSError):
        bases = [directory, *filter(Path.is_dir, directory.iterdir())]
        if all(_can_lock(os.open(base, os.O_RDONLY | os.O_DIRECTORY)) for base in bases):
            shutil.rmtree(directory, ignore_errors=True)


def let_settings_decide() -> None:
    """Have sessions where the settings say, in this process and in programs that it starts.

    For tests of clustersession itself, and of what is built on it.
    """
    global _watches
    _watches = False
    os.environ[TEST_STATE_DIR_VARIABLE] = CONFIGURED


def is_test_run() -> bool:
    """Tell whether tests run in this process. A server that merely has pytest loaded is none."""
    return _blocks > 0 or _is_pytest() or _is_djangos_runner()


def _is_pytest() -> bool:
    """Tell whether pytest runs here: its finder of modules is in use, or it is on a stack.

    Its variables say nothing. Programs that tests start inherit them, images are made with
    ``PYTEST_VERSION``, and libraries import pytest: a server would lose its peers.
    """
    if "_pytest.config" not in sys.modules:
        return False
    return any(type(finder).__module__ == _PYTESTS_FINDER for finder in sys.meta_path) or any(
        str(frame.f_globals.get("__name__")).startswith("_pytest.")
        for stack in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(stack)
    )


def _is_djangos_runner() -> bool:
    """Tell whether Django's test environment is set up here, or ``manage.py test`` is to do it.

    The first is the attribute by which Django knows it itself. Nothing of Django is imported.
    """
    utils = sys.modules.get("django.test.utils")
    if hasattr(getattr(utils, "_TestState", None), "saved_data"):
        return True
    if "django" not in sys.modules or sys.argv[1:2] != ["test"]:
        return False
    program = Path(sys.argv[0])
    return program.name in ("manage.py", "django-admin") or program.parts[-2:] == (
        "django", "__main__.py",
    )


def own_place() -> Path:
    """Make a directory for this process, which goes with it; what it forks for pytest shares it.

    Django's runner forks processes that run tests side by side: each has its own.
    """
    place = _own.get(os.getpid())
    if place is None and _own and _is_pytest():
        return next(reversed(_own.values()))
    if place is None:
        place = _own[os.getpid()] = Path(tempfile.mkdtemp(prefix=name_prefix()))
        hold(place)
        _at_exit(_remove_own)
    return place


def _at_exit(call: Callable[[], None]) -> None:
    atexit.register(call)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:
        # Its processes end without atexit.
        multiprocessing.Finalize(None, call, exitpriority=0)


def _remove_own() -> None:
    place = _own.get(os.getpid())
    if place is not None:
        remove(place)


def remove(place: Path) -> None:
    """Stop the agents that run in a directory, and remove it. Whatever fails is left."""
    if (lock := _held.pop(place, None)) is not None:
        os.close(lock)
    directories = [socket.parent for socket in _agents_in(place)]
    for directory in filter(_has_agent, directories):
        with suppress(AgentGone, TimeoutError, OSError, ValueError):
            ask_once(directory / _SOCKET, Operation.STOP)
    # Counted, because a test may have stopped every clock of Python.
    for _ in range(LOOKS_FOR_AGENTS_MAX):
        if not any(map(_has_agent, directories)):
            break
        time.sleep(_LOOK_INTERVAL_S)
    shutil.rmtree(place, ignore_errors=True)


def _agents_in(place: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from place.rglob(_SOCKET)


def _has_agent(directory: Path) -> bool:
    """Tell by the agent's lock: one that was killed has left its socket, one that stops writes on.

    See ``agent.process.agent_lock``.
    """
    with suppress(OSError):
        return not _can_lock(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))
    return False


def remove_stale(directory: Path) -> None:
    """Remove what runs of this user have left there that did not live to do so; some of it."""
    stale = filter(_is_stale, sorted(directory.glob(f"{name_prefix()}*")))
    for place in islice(stale, STALE_REMOVED_MAX):
        remove(place)


def _is_stale(place: Path) -> bool:
    """Tell whether a directory is this user's, and nobody's any more."""
    with suppress(OSError):
        found = place.lstat()
        return (
            place not in _held
            and kernel_ms() / 1000 - found.st_mtime >= YOUNG_S
            and found.st_uid == os.getuid()
            and stat.S_ISDIR(found.st_mode)
            and _is_free(place)
        )
    return False


def _is_free(place: Path) -> bool:
    return _can_lock(private_opener(place / LOCK_FILE, os.O_RDWR | os.O_CREAT))


def _can_lock(descriptor: int) -> bool:
    """Tell whether nobody holds a lock on what is open there, and close it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
