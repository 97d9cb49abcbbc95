"""Checks this host alone: files, limits, versions, cookie, clock. Changes nothing.

Nothing is made either: a check that runs as another user than the application must not leave
directories behind that the application cannot use.
"""

import os
import re
import resource
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import lmdb

from clustersession.core.clock import wall_ms_of
from clustersession.core.errors import ReplicaUnusable
from clustersession.operations.node_users import describe_users, user_pids
from clustersession.replica import tables
from clustersession.replica.engines.lmdb import directory as directories
from clustersession.replica.engines.lmdb.engine import peek
from clustersession.replica.engines.lmdb.inspection import is_whole
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.segments import bytes_of
from clustersession.replica.reading import head_from
from clustersession.settings.settings import Settings
from clustersession.tools.check.report import Verdict, ok, problem, warning
from clustersession.worker.places import temporary_state_dir

SPACE_BYTES_MIN = 64 * 2**20
SPACE_BYTES_GOOD = 2**30
FILES_MIN = 256
FILES_GOOD = 1024
_YEAR_MIN, _YEAR_MAX = 2025, 2100
_FRAMEWORKS = (
    "starlette", "fastapi", "flask", "quart", "litestar", "aiohttp", "tornado", "sanic", "django",
)
_REQUIREMENT = re.compile(r"([A-Za-z0-9-]+)>=([\d.]+)")


def check_state(home: NodeHome, *, agent_runs: bool) -> Iterator[Verdict]:
    """Check the node's directory: ours, private, local, with space, its replica readable."""
    directory = home.directory
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir():
        yield problem("state", f"{existing} is no directory; set state_dir to one")
        return
    found = existing.stat()
    if existing == directory and found.st_uid != os.getuid():
        yield problem(
            "state", f"{directory} belongs to user {found.st_uid} and this runs as {os.getuid()}; "
            "run the check as the application's user, or set another state_dir",
        )
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem("state", f"{existing} cannot be written by user {os.getuid()}; set "
                               "state_dir to a directory that can")
        return
    if sys.platform == "linux":
        kind = directories.file_system_of(
            str(existing.resolve()), Path("/proc/self/mountinfo").read_text()
        )
        if kind in directories.NETWORK_FILE_SYSTEMS:
            yield problem("state", f"{existing} is on a network file system ({kind}); set "
                                   "state_dir to a local directory")
            return
    if existing == directory and found.st_mode & 0o077:
        yield warning("state", f"{directory} can be opened by others; chmod 700 it (a node does "
                               "so when it starts)")
    else:
        made = "" if existing == directory else ", made at the first start"
        if temporary_state_dir() in directory.parents:
            yield warning("state", f"{directory}{made}: what is in the temporary directory goes "
                                   "when the machine restarts; set state_dir, or StateDirectory= "
                                   "in the service's unit")
        else:
            yield ok("state", f"{directory}: local and private{made}")
    yield _space(existing)
    if (home.replica / directories.DATA_FILE).exists() or user_pids(home.replica):
        yield _replica(home.replica, agent_runs)


def check_journal(
    home: NodeHome, settings: Settings, status: Mapping[str, Any] | None
) -> Iterator[Verdict]:
    """Check whether sessions survive a power cut of all nodes, where they are to."""
    if settings.effective_durability == "none":
        return
    existing = next(path for path in (home.directory, *home.directory.parents) if path.exists())
    kind = directories.file_system_here(existing.resolve())
    failed = (status or {}).get("journal", {}).get("failed")
    if failed:
        yield problem("journal", f"the disk does not take it: {failed}; make room, or see to the "
                                 "disk")
    elif kind in directories.MEMORY_FILE_SYSTEMS:
        yield warning("journal", f"{existing} is in memory ({kind}), so no session survives a "
                                 "power cut of all nodes; set state_dir to a disk, or durability "
                                 "to \"none\"")
    else:
        yield ok("journal", f"kept on {kind or 'disk'}, {bytes_of(home.journal):,} bytes")


def check_nodes(nodes: Iterable[NodeHome], own: NodeHome) -> Iterator[Verdict]:
    """Name the other nodes of the same cluster's name and route, which have other secrets."""
    for home in nodes:
        if home == own:
            continue
        text = f"{home.directory} is a node with another secret: {describe_users(home)}"
        if user_pids(home.replica):
            yield ok("state", text)
        else:
            yield warning("state", f"{text}; if its application is gone, or its secret was "
                                   "replaced at one go, delete the directory")


def _space(path: Path) -> Verdict:
    free = shutil.disk_usage(path).free
    text = f"{free / 2**20:,.0f} MiB free at {path}"
    if free < SPACE_BYTES_MIN:
        return problem("space", f"{text}; sessions will not be stored: make room")
    if free < SPACE_BYTES_GOOD:
        return warning("space", f"{text}; it has to hold all live sessions of the cluster")
    return ok("space", text)


def _replica(path: Path, agent_runs: bool) -> Verdict:
    try:
        with directories.exclusive_opening(path):
            if directories.is_used(path):
                directories.refuse_removed(path)
                by = ", and its agent answers" if agent_runs else " by workers"
                return ok("replica", f"in use{by}")
            if is_whole(path / directories.DATA_FILE):
                return ok("replica", "whole; nobody has it open")
    except OSError as error:
        return problem("replica", f"{path} cannot be read: {error.strerror}; see who owns it")
    except ReplicaUnusable as error:
        return problem("replica", str(error))
    return warning("replica", f"{path} is damaged; a node that starts sets it aside and loads "
                              "from its peers")


def latest_time_ms(home: NodeHome) -> int:
    """Return the latest time in a replica that nobody has open; 0 for any other."""
    path = home.replica
    if not (path / directories.DATA_FILE).exists():
        return 0
    try:
        with directories.exclusive_opening(path):
            if directories.is_used(path) or not is_whole(path / directories.DATA_FILE):
                return 0
            return wall_ms_of(head_from(peek(path, tables.META, tables.HEAD_KEY)).highest)
    except (OSError, lmdb.Error, ReplicaUnusable):
        return 0


def check_times(latest_ms: int, now_s: float, lead_ms_max: int) -> Iterator[Verdict]:
    """Check that the replica's times are none that no clock has shown yet."""
    ahead_s = latest_ms / 1000 - now_s
    if ahead_s * 1000 > lead_ms_max:
        yield problem(
            "times", f"the replica carries times {ahead_s:,.0f} s ahead of this host's clock: this "
            "one or that of a process that wrote here was wrong, and peers refuse what the node "
            "writes. Set this host's clock (NTP); the agent then writes it again under a new node "
            "id, as soon as it meets peers whose clocks agree",
        )


def check_files(worker_pids: Iterable[int]) -> Verdict:
    """Check how many files this process and the running workers may have open."""
    limits = {"this shell": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    for pid in worker_pids:
        try:
            text = Path(f"/proc/{pid}/limits").read_text()
        except OSError:
            continue
        if found := re.search(r"Max open files\s+(\d+)", text):
            limits[f"worker {pid}"] = int(found[1])
    who, lowest = min(limits.items(), key=lambda item: _countable(item[1]))
    if _countable(lowest) < FILES_MIN:
        return problem("files", f"{who} may open {lowest} files; raise the limit (ulimit -n, "
                                f"LimitNOFILE) to {FILES_GOOD} or more")
    if _countable(lowest) < FILES_GOOD:
        return warning("files", f"{who} may open {lowest} files; {FILES_GOOD} or more is better")
    return ok("files", f"{who} may open {lowest} files" if lowest >= 0 else "no limit")


def _countable(limit: int) -> float:
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def check_frameworks() -> Verdict:
    """Check that the installed web frameworks are new enough for their adapters."""
    needed = {}
    for requirement in metadata.requires("clustersession") or ():
        if (found := _REQUIREMENT.match(requirement)) and found[1].lower() in _FRAMEWORKS:
            needed[found[1].lower()] = found[2]
    present, old = [], []
    for name, lowest in needed.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        present.append(f"{name} {version}")
        if _numbers(version) < _numbers(lowest):
            old.append(f"{name} is {version} and must be {lowest} or newer: pip install "
                       f"'{name}>={lowest}'")
    if old:
        return problem("frameworks", "; ".join(old))
    return ok("frameworks", ", ".join(present) or "none installed but what WSGI and ASGI need")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_cookie(settings: Settings) -> Iterator[Verdict]:
    """Check the cookie's settings, which may each be valid and contradict each other."""
    remarks = []
    age_s, idle_s = settings.cookie_max_age_s, settings.idle_timeout_s
    if age_s > 0 and (idle_s == 0 or age_s < idle_s):
        remarks.append(
            f"the browser forgets the cookie after cookie_max_age_s = {age_s} and the session "
            f"lives on for idle_timeout_s = {idle_s:g}; set cookie_max_age_s to 0 or more than that"
        )
    if settings.consistency == "causal" and settings.rewrite == "always":
        remarks.append('consistency = "causal" is for balancers that are not sticky and rewrite = '
                       '"always" for those that are; leave one of them')
    if settings.cookie_samesite == "strict":
        remarks.append('cookie_samesite = "strict": users who follow a link from elsewhere, a '
                       'payment for one, arrive without their session; "lax" lets them in')
    if not settings.cookie_secure:
        remarks.append("cookie_secure is false: set it to true wherever users come over HTTPS")
    for remark in remarks:
        yield warning("cookie", remark)
    if not remarks:
        yield ok("cookie", f"{settings.cookie_name}: nothing contradicts itself")


def check_clock(now_s: float, skews_ms: dict[str, int], skew_s_max: float) -> Verdict:
    """Check this host's clock. ``skews_ms``: how far each peer's clock is ahead of ours."""
    now = datetime.fromtimestamp(now_s, UTC)
    if not _YEAR_MIN <= now.year <= _YEAR_MAX:
        return problem("clock", f"this host believes it is {now:%Y-%m-%d}; set its clock (NTP)")
    if not skews_ms:
        return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC; no peer to compare with")
    who, skew_ms = max(skews_ms.items(), key=lambda item: abs(item[1]))
    far = f"{who}'s clock is {abs(skew_ms) / 1000:.1f} s " \
          f"{'ahead of' if skew_ms > 0 else 'behind'} ours"
    if abs(skew_ms) > skew_s_max * 1000:
        return problem("clock", f"{far}, more than clock_skew_s_max = {skew_s_max:g}: changes are "
                                "refused; set both by NTP")
    if abs(skew_ms) > 2000:
        return warning("clock", f"{far}: of two writes at once the wrong one may win; use NTP")
    return ok("clock", f"{far if abs(skew_ms) >= 100 else 'in step with ' + ', '.join(skews_ms)}")
