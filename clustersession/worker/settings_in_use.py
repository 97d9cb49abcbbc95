"""Compares the settings of the processes that have one node open, and warns where they differ.

Processes of one node may serve different applications, Flask's beside Django's for one. They share
an agent, which has the settings of whoever starts it; and those with one cookie name share
sessions, whose life and cookie follow whoever writes. Each holds a directory named by its settings
for as long as it has the node open, so the kernel says who is there, after ``kill -9`` too and from
one container to another.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.engines.lmdb.directory import exclusive_opening, is_used
from clustersession.replica.home import NodeHome
from clustersession.replica.private_directory import HeldDirectory, private_opener
from clustersession.settings.settings import Settings
from clustersession.worker.run_of_tests import tests_state_dir

OF_EACH_PROCESS = frozenset({
    "ack", "ack_failure", "ack_timeout_s", "cluster_name", "dashboard_hosts", "dashboard_token",
    "dashboard_values", "drain_on_stop_s", "events", "exclude", "fetch_timeout_s", "header_name",
    "legacy_cookie_name", "legacy_cookie_secret", "new_sessions_per_second_max", "ready_path",
    "route", "secret", "state_dir", "store", "tracing", "url_parameter",
})  # fmt: skip
"""Settings that may differ, or that a node has by definition.

``secret`` compares secrets, and ``attachment`` stores.
"""

OF_THE_AGENT = frozenset({
    "advertise", "agent", "agent_linger_s", "bind", "carrier", "clock_skew_s_max", "distributable",
    "drop_time_s", "durability", "heartbeat_interval_s", "join_timeout_s", "log_format",
    "map_bytes", "metrics_bind", "metrics_hosts", "metrics_port", "multicast_address",
    "multicast_port", "multicast_ttl", "near_cache_bytes_max", "near_cache_idle_s", "port",
    "port_range", "recovery_wait_s", "repair_interval_s", "seeds", "store_replicas", "tls_ca",
    "tls_certificate", "tls_key",
})  # fmt: skip
"""Settings of which a node has one. What is in neither set is of sessions and their cookie."""

_FILE = "settings.json"

_log = logging.getLogger("clustersession")


def hold_settings(settings: Settings, home: NodeHome) -> HeldDirectory | None:
    """Have others see these settings until what is returned is closed; warn of other ones in use.

    ``settings`` are complete. None where the files cannot be used: that harms no session.
    """
    base = home.directory / "settings"
    values = _values_of(settings)
    held = None
    try:
        with exclusive_opening(base):
            own = base / sha256(json.dumps(values).encode()).hexdigest()[:16]
            for directory in (base, own):
                directory.mkdir(mode=0o700, exist_ok=True)
            held = HeldDirectory(own)
            # A second process with these settings would say the same again.
            if held.is_alone():
                _write(own, values)
                for pid, theirs in _others(base, own):
                    # Tests make an application each, and each as it needs it.
                    if pid != os.getpid() or tests_state_dir() is None:
                        _warn(settings, values, pid, theirs)
    except (OSError, ReplicaUnusable):
        if held is not None:
            held.close()
            held = None
    return held


def _values_of(settings: Settings) -> dict[str, Any]:
    values = {
        field.name: getattr(settings, field.name)
        for field in fields(Settings)
        if field.name not in OF_EACH_PROCESS
    }
    values["absolute_timeout_s"] = settings.effective_absolute_timeout_s
    values["anonymous_absolute_timeout_s"] = settings.effective_anonymous_absolute_timeout_s
    # As another process will read them: a tuple becomes a list.
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _write(directory: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps({"pid": os.getpid(), "settings": values})
    with open(directory / _FILE, "w", encoding="utf-8", opener=private_opener) as file:
        file.write(text)


def _others(base: Path, own: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the other settings in use, and remove what a process left that is gone."""
    for directory in sorted(base.iterdir()):
        if directory == own:
            continue
        file = directory / _FILE
        try:
            if not is_used(directory):
                with suppress(OSError):
                    file.unlink(missing_ok=True)
                    directory.rmdir()
                continue
            found = json.loads(file.read_text(encoding="utf-8"))
            yield int(found["pid"]), dict(found["settings"])
        except (OSError, ValueError, TypeError, KeyError):
            continue  # of another version, removed by somebody, or none of ours


def _warn(
    settings: Settings, ours: Mapping[str, Any], pid: int, theirs: Mapping[str, Any]
) -> None:
    shares_sessions = ours["cookie_name"] == theirs.get("cookie_name")
    differences = [
        f"{name} is {ours[name]!r} here and {theirs[name]!r} there"
        for name in ours
        if (shares_sessions or name in OF_THE_AGENT)
        and name in theirs and ours[name] != theirs[name]
    ]
    if differences:
        _log.warning(
            "clustersession: process %d of node %s has other settings than this one: %s. Sessions "
            "and the agent follow now one and now the other: give all processes the same, and an "
            "application with sessions of its own another cookie_name; after a change of settings "
            "this is over when the old processes are gone",
            pid, settings.route, "; ".join(differences),
        )
