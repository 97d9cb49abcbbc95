"""Runs all checks: whether the settings, this host and the other nodes fit each other.

It joins nobody, takes a port for an instant at most, and makes no file. With everything silent it
takes as long as listening to the group and one unanswered connection: some five seconds.
"""

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersession.core.errors import ClusterSessionError, ConfigurationError
from clustersession.net.agent_link import AgentGone
from clustersession.net.interfaces import bind_address
from clustersession.operations.nodes import ask_agent
from clustersession.replica.home import NodeHome, parse_name
from clustersession.settings.rules import SECRET_COMMAND
from clustersession.settings.settings import Settings
from clustersession.settings.sources import (
    PREFIX,
    guessable_secret,
    load_settings,
    require_secret,
    require_secret_for_store,
)
from clustersession.tools.check.host import (
    check_clock,
    check_cookie,
    check_files,
    check_frameworks,
    check_journal,
    check_nodes,
    check_state,
    check_times,
    latest_time_ms,
)
from clustersession.tools.check.network import check_network
from clustersession.tools.check.report import Verdict, ok, problem, warning
from clustersession.tools.check.store import check_store
from clustersession.wire.local import Operation
from clustersession.worker.completion import complete, is_local
from clustersession.worker.known_secrets import (
    digests_of,
    directory_name,
    find_node,
    nodes_in,
)
from clustersession.worker.places import route_of, state_dir_of
from clustersession.worker.secret import own_secret_file


def check_all(options: Mapping[str, object]) -> list[Verdict]:
    """Read the settings as the application does and check; ``options`` override them."""
    try:
        # In the framework's place: it counts only where no source says anything.
        settings = load_settings({"distributable": True}, **options)
    except ConfigurationError as error:
        return [problem("settings", line) for line in str(error).splitlines()]
    return run_checks(settings)


def run_checks(settings: Settings) -> list[Verdict]:
    """Run every check; the first problem is often the cause of the next."""
    base = state_dir_of(settings)
    nodes = nodes_in(base, settings.cluster_name, route_of(settings))
    home = _home(settings, nodes)
    status = _ask_status(home)
    verdicts = [*check_state(home, agent_runs=isinstance(status, dict)), *check_nodes(nodes, home)]
    if why := guessable_secret(settings):
        verdicts.append(warning("secret", f"it can be guessed: {why}; make one with "
                                          f"{SECRET_COMMAND}"))
    if isinstance(status, str):
        verdicts.append(problem("agent", status))
        status = None
    verdicts += check_journal(home, settings, status)
    workers = status["workers"] if status else []
    verdicts += [check_files(workers), check_frameworks(), *check_cookie(settings)]
    if settings.store:
        secret = settings.secret or (secrets.token_urlsafe(),)
        verdicts += asyncio.run(check_store(dataclasses.replace(settings, secret=secret)))
    skews: dict[str, int] = {}
    if not settings.distributable:
        verdicts.append(ok("network", "distributable is false: this node has no peers"))
    else:
        try:
            completed = _completed(settings)
            verdicts.insert(0, ok("settings", "all valid"))
            verdicts += _network(completed, base, status, skews)
        except ConfigurationError as error:
            verdicts.insert(0, problem("settings", str(error)))
    verdicts.append(check_clock(time.time(), skews, settings.clock_skew_s_max))
    latest_ms = status.get("latest_time_ms", 0) if status else latest_time_ms(home)
    verdicts += check_times(latest_ms, time.time(), settings.stamp_lead_ms_max)
    return verdicts


def _network(
    settings: Settings, base: Path, status: dict[str, Any] | None, skews: dict[str, int]
) -> list[Verdict]:
    if settings.store:
        return [ok("network", "a store is set: hosts have no connections with each other")]
    # The names that somebody else's cluster_name is likely to be.
    found = {parse_name(path)[0] for path in base.glob("*.*.*") if path.is_dir()}
    names = {Settings().cluster_name, *filter(None, found)}
    return asyncio.run(check_network(settings, names, status, skews))


def _home(settings: Settings, nodes: list[NodeHome]) -> NodeHome:
    """Return the node of the settings, whether it has begun or not; without a secret the only one.

    The application may have a secret that is not set here.
    """
    name, route = settings.cluster_name, route_of(settings)
    if settings.secret:
        known = find_node(nodes, digests_of(settings.secret, name))
        return known or NodeHome(
            state_dir_of(settings) / directory_name(name, route, settings.secret[0])
        )
    return nodes[0] if len(nodes) == 1 else NodeHome(state_dir_of(settings) / f"{name}.{route}")


def _ask_status(home: NodeHome) -> dict[str, Any] | str | None:
    """Ask the agent for its status; None without an agent, or a text that says what is wrong."""
    try:
        found: dict[str, Any] = ask_agent(home, Operation.STATUS)
        return found
    except (AgentGone, PermissionError):
        return None
    except (TimeoutError, ClusterSessionError) as error:
        return str(error)


def _require_secret(settings: Settings) -> None:
    try:
        if settings.store:
            require_secret_for_store(settings, is_local(settings.store))
        else:
            require_secret(settings, bind_address(settings.bind, settings.multicast_address))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error} What only the application says is not seen here: if its framework's secret "
            "key is the secret, set what follows from that (docs/operations/move.md); if it runs "
            f"on one host alone, set {PREFIX}DISTRIBUTABLE to false."
        ) from error


def _completed(settings: Settings) -> Settings:
    """Complete the settings without making the user's own secret: a check leaves no files."""
    if not settings.secret:
        _require_secret(settings)
        if not own_secret_file(settings).exists():
            settings = dataclasses.replace(settings, secret=(secrets.token_urlsafe(),))
    return complete(settings)
