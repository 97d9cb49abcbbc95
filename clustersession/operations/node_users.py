"""Names the processes that have a node's replica open, for people who have to tell nodes apart."""

import os
from datetime import datetime
from pathlib import Path

from clustersession.replica.home import NodeHome

WORDS_MAX = 8


def describe_users(home: NodeHome) -> str:
    """Say which application a node belongs to, by its processes or by when it was last used."""
    pids = user_pids(home.replica)
    workers = [pid for pid in pids if "clustersession.agent" not in _command(pid)]
    if workers:
        return f"open in process {workers[0]}: {_command(workers[0])}{_place(workers[0])}"
    if pids:
        return f"only its agent runs, process {pids[0]}"
    try:
        used = datetime.fromtimestamp(home.replica.stat().st_mtime).astimezone()
    except FileNotFoundError:
        return "never used"
    return f"not open in any process that can be seen, last used on {used:%Y-%m-%d at %H:%M}"


def user_pids(directory: Path) -> list[int]:
    """Find who holds the lock of a ``HeldDirectory``; empty where the system does not tell."""
    try:
        inode = directory.stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  READ 4711 fe:00:1234 0 EOF
    rows = [line.split() for line in lines if " FLOCK " in line]
    pids = {int(row[4]) for row in rows if len(row) > 5 and row[5].endswith(f":{inode}")}
    return sorted(pid for pid in pids if pid > 0)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:WORDS_MAX]
    except OSError:
        return ""
    text = " ".join(word.decode(errors="replace") for word in words if word)
    return "".join(c if c.isprintable() else "?" for c in text)


def _place(pid: int) -> str:
    try:
        return f" in {os.readlink(f'/proc/{pid}/cwd')}"
    except OSError:
        return ""
