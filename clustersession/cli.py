"""Is the command line: the commands about this host's node, and those of ``tools``.

A command imports what it needs when it runs, so that ``--help`` is quick and ``status`` loads no
web framework.
"""

import logging
import sys
import time
from typing import Any

import click

from clustersession import __version__
from clustersession.core.errors import ClusterSessionError
from clustersession.settings.sources import load_settings
from clustersession.tools.bridge.command import bridge
from clustersession.tools.check.command import check
from clustersession.tools.command_line import json_option, settings_of, to_json
from clustersession.tools.dashboard.command import dashboard
from clustersession.tools.demo.command import demo
from clustersession.tools.migration.command import import_sessions
from clustersession.tools.tomcat.command import import_tomcat
from clustersession.tools.top.command import top

SHOWN_MAX = 1000
ID_LENGTH_MIN = 20


class _Tidy(click.Group):
    """Shows our own errors as one line for people, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ClusterSessionError, TimeoutError) as error:
            raise click.ClickException(str(error)) from None


class _TakesId(click.Command):
    """Takes an id for an id even if it begins with a dash, as a cookie's value may."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = {name for parameter in self.params for name in parameter.opts}
        identifiers = [
            arg for before, arg in zip(["", *args], args, strict=False)
            if arg.startswith("-") and len(arg) >= ID_LENGTH_MIN
            and arg.partition("=")[0] not in options and before not in options - {"--json"}
        ]
        if identifiers and "--" not in args:
            args = [*(arg for arg in args if arg not in identifiers), "--", *identifiers]
        return super().parse_args(ctx, args)


@click.group(cls=_Tidy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clustersession")
@click.option("--config", type=click.Path(dir_okay=False), help="A TOML file with settings.")
@click.option("--state-dir", help="Where nodes keep their state; as in the application.")
@click.option("--route", help="The node's route; as in the application.")
@click.option("--cluster-name", help="The cluster's name; as in the application.")
@click.pass_context
def main(ctx: click.Context, /, **options: str | None) -> None:
    """Session clustering for Python web apps.

    Settings are read like the application reads them: from CLUSTERSESSION_* variables and the file
    that CLUSTERSESSION_CONFIG names; the options override them.
    """
    ctx.obj = {name: value for name, value in options.items() if value is not None}


for tool in (bridge, check, dashboard, demo, import_sessions, import_tomcat, top):
    main.add_command(tool)


@main.command()
@click.pass_obj
def agent(options: dict[str, str]) -> None:
    """Run the node's agent in the foreground, for systemd or as a sidecar."""
    from clustersession.agent.log_lines import log_formatter
    from clustersession.agent.process import run_agent
    from clustersession.worker.completion import complete
    from clustersession.worker.places import node_home

    settings = load_settings(**{"distributable": True, **options})
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(settings.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = complete(settings)
    sys.exit(run_agent(settings, node_home(settings), lingers=False))


@main.command()
@json_option
@click.pass_obj
def status(options: dict[str, str], as_json: bool) -> None:
    """Tell what this host's node is doing."""
    from clustersession.operations import nodes
    from clustersession.tools.terminal import status_text

    found = nodes.status(nodes.find_home(settings_of(options)))
    click.echo(to_json(found) if as_json else status_text(found))


@main.command()
@click.pass_obj
def ready(options: dict[str, str]) -> None:
    """Tell whether users may be sent to this host's node: exits with 0 if so, with 1 if not.

    For the health check of a container. It asks the agent alone; ready_path asks a worker too.
    """
    from clustersession.operations import nodes
    from clustersession.requests.readiness import judge

    answer = judge(nodes.status(nodes.find_home(settings_of(options)))["phase"])
    if answer.status != 200:
        raise click.ClickException(answer.text)
    click.echo(answer.text)


@main.command()
@click.pass_obj
def metrics(options: dict[str, str]) -> None:
    """Print the node's metrics as Prometheus reads them, without an open port."""
    from clustersession.agent.metrics import require_client
    from clustersession.operations import nodes

    require_client()
    from clustersession.agent.metrics_exposition import exposed

    found = nodes.status(nodes.find_home(settings_of(options)))
    click.echo(b"".join(exposed(found)), nl=False)


@main.command()
@json_option
@click.pass_obj
def members(options: dict[str, str], as_json: bool) -> None:
    """List the members of the cluster: route, address, since when, how far behind."""
    from clustersession.operations import nodes
    from clustersession.operations.listing import member_rows
    from clustersession.tools.terminal import members_text

    found = nodes.status(nodes.find_home(settings_of(options)))
    click.echo(to_json(member_rows(found)) if as_json else members_text(found))


@main.command()
@json_option
@click.option("--limit", default=50, show_default=True, help="How many to show, at most 1000.")
@click.option("--all", "with_ended", is_flag=True, help="Ended ones too.")
@click.option("--principal", metavar="USER", help="Only the live sessions of this user.")
@click.pass_obj
def sessions(
    options: dict[str, str], as_json: bool, limit: int, with_ended: bool, principal: str | None
) -> None:
    """List the sessions this node holds, by a hash of their id; of a user, those of all nodes."""
    from clustersession.operations.finding import HERE_ONLY, gather
    from clustersession.operations.listing import session_row, session_rows
    from clustersession.operations.nodes import find_home, replica
    from clustersession.tools.terminal import sessions_text

    now_ms = time.time_ns() // 1_000_000
    settings = settings_of(options)
    home = find_home(settings)
    whole = True if principal is None else gather(home, principal)
    with replica(home) as opened:
        stats = opened.stats()
        if principal is None:
            rows = session_rows(opened, min(limit, SHOWN_MAX), now_ms, with_ended=with_ended)
        else:
            found = opened.sessions_of(principal)
            rows = [session_row(key, state, now_ms) for key, state in found][:limit]
    if whole is False or (whole is None and settings.store):
        click.echo(HERE_ONLY, err=True)
    if as_json:
        click.echo(to_json({"sessions": stats.sessions, "ended": stats.tombstones, "rows": rows}))
        return
    click.echo(sessions_text(rows))
    held = f"{stats.sessions} sessions that this node holds ({stats.tombstones} ended)"
    click.echo(f"{len(rows)} shown of {held}" if principal is None else f"{len(rows)} shown")


@main.command(cls=_TakesId)
@click.argument("identifier", metavar="ID")
@json_option
@click.pass_obj
def show(options: dict[str, str], identifier: str, as_json: bool) -> None:
    """Show one session, by a cookie value, an id, or the hash of ``sessions`` and logs."""
    from clustersession.operations.finding import bring
    from clustersession.operations.listing import session_detail
    from clustersession.operations.nodes import find_home, replica
    from clustersession.tools.terminal import detail_text

    now_ms = time.time_ns() // 1_000_000
    home = find_home(settings_of(options))
    with replica(home) as opened:
        found = bring(home, opened, identifier)
    if found is None:
        raise _not_held(identifier)
    detail = session_detail(*found, now_ms)
    click.echo(to_json(detail) if as_json else detail_text(detail))


@main.command(cls=_TakesId)
@click.argument("identifier", metavar="ID", required=False)
@click.option("--principal", metavar="USER", help="All sessions of this user, on every node.")
@json_option
@click.pass_obj
def end(
    options: dict[str, str], identifier: str | None, principal: str | None, as_json: bool
) -> None:
    """End a session everywhere, or all sessions of a user.

    ID is a cookie value, an id, or the hash that ``sessions`` and logs show.
    """
    from clustersession.operations import ending
    from clustersession.operations.finding import bring
    from clustersession.operations.nodes import find_home, replica

    if (identifier is None) is (principal is None):
        raise click.UsageError("give either the ID of a session or --principal USER")
    settings = settings_of(options)
    home = find_home(settings)
    with replica(home) as opened:
        if principal is not None:
            ended = ending.end_principal(opened, home, settings, principal)
        else:
            assert identifier is not None
            found = bring(home, opened, identifier)
            if found is None:
                raise _not_held(identifier)
            ended = ending.end_session(opened, home, found[0])
    click.echo(to_json(ended._asdict()) if as_json else ending.end_text(ended))


@main.command()
@json_option
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, type=click.FloatRange(min=0),
    metavar="SECONDS", help="How long to wait for the other nodes.",
)
@click.pass_obj
def drain(options: dict[str, str], as_json: bool, timeout_s: float) -> None:
    """Move this host's users to other nodes, before it is stopped.

    Requests are still answered, with the route of another node. Waits until every other node holds
    all that this one wrote, and exits with 0; with 1 when the time is over, and the node goes on
    draining. There is no way back but a restart: draining ends when the node's workers have all
    stopped and one starts again.
    """
    from clustersession.operations import drain as draining
    from clustersession.operations.nodes import find_home
    from clustersession.tools.terminal import drain_text

    home = find_home(settings_of(options))
    found = draining.drain(
        home, timeout_s, lambda now: click.echo(drain_text(now), err=as_json)
    )
    if as_json:
        click.echo(to_json({**found._asdict(), "done": found.done}))
    if not found.done:
        raise click.ClickException(f"not drained within {timeout_s:g} s")


@main.command()
@json_option
@click.option(
    "--without", "names", multiple=True, metavar="NODE|ROUTE",
    help="A member that will not come back. Its users' last logouts may be undone.",
)
@click.pass_obj
def recover(options: dict[str, str], as_json: bool, names: tuple[str, ...]) -> None:
    """Tell how far the recovery after a power cut is, or have it do without a member.

    Sessions out of the journal are served only when every member of that time has been met, because
    a user may have logged out there. Name a member whose disk is lost, or this node's own route
    where a part of its own journal is damaged. The word counts for the whole cluster.
    """
    from clustersession.operations import recovering
    from clustersession.operations.nodes import find_home

    home = find_home(settings_of(options))
    found = recovering.do_without(home, names) if names else recovering.recovery(home)
    click.echo(to_json(found) if as_json else recovering.recovery_text(found))


def _not_held(identifier: str) -> click.ClickException:
    return click.ClickException(f"this node holds no session {identifier[:8]}...")
