"""The command line, ``clustersession``: run the agent, look at a node, drain it, see the demo."""

import json
import logging
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from clustersession import __version__
from clustersession.agent.log_lines import log_formatter
from clustersession.agent.metrics import require_client
from clustersession.agent.process import run_agent
from clustersession.core.errors import ClusterSessionError
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.operations import show
from clustersession.operations.drain import drain
from clustersession.operations.ending import (
    Ended,
    end_principal,
    end_session,
    find_session,
)
from clustersession.operations.nodes import find_home, replica, status
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.tools.top.top import run_top
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home

PAGE = 500
SHOWN_MAX = 1000
ID_LENGTH_MIN = 20


class _Tidy(click.Group):
    """Our own errors are one line for people, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ClusterSessionError, TimeoutError) as error:
            raise click.ClickException(str(error)) from None


class _TakesId(click.Command):
    """A cookie's value may begin with a dash, and is then no option."""

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


@main.command()
@click.pass_obj
def agent(options: dict[str, str]) -> None:
    """Run the node's agent in the foreground, for systemd or as a sidecar."""
    settings = load_settings(**{"distributable": True, **options})
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(settings.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = complete(settings)
    sys.exit(run_agent(settings, node_home(settings), lingers=False))


@main.command("status")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status_command(options: dict[str, str], as_json: bool) -> None:
    """What this host's node is doing."""
    found = status(find_home(_settings(options)))
    click.echo(_json(found) if as_json else show.status_text(found))


@main.command()
@click.pass_obj
def metrics(options: dict[str, str]) -> None:
    """The node's metrics as Prometheus reads them, without an open port."""
    require_client()
    from clustersession.agent.metrics_exposition import exposed

    found = status(find_home(_settings(options)))
    click.echo(b"".join(exposed(found)), nl=False)


@main.command()
@click.option("--once", is_flag=True, help="Print one look and exit.")
@click.option(
    "--interval", "interval_s", default=1.0, show_default=True,
    type=click.FloatRange(min=0.1, max=3600), metavar="SECONDS", help="Between two looks.",
)
@click.pass_obj
def top(options: dict[str, str], once: bool, interval_s: float) -> None:
    """A node as it lives: members, lag, rates, the newest lines of its log.

    Keys: q quits, p pauses. Where there is no terminal it prints what it would draw.
    """
    home = find_home(_settings(options))
    run_top(home, interval_s, once=once, color="NO_COLOR" not in os.environ)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def members(options: dict[str, str], as_json: bool) -> None:
    """Who is in the cluster: route, address, since when, how far behind."""
    found = status(find_home(_settings(options)))
    click.echo(_json(show.member_rows(found)) if as_json else show.members_text(found))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--limit", default=50, show_default=True, help="How many to show, at most 1000.")
@click.option("--all", "with_ended", is_flag=True, help="Ended ones too.")
@click.option("--principal", metavar="USER", help="Only the live sessions of this user.")
@click.pass_obj
def sessions(
    options: dict[str, str], as_json: bool, limit: int, with_ended: bool, principal: str | None
) -> None:
    """The sessions this node holds, by a hash of their id."""
    now_ms = time.time_ns() // 1_000_000
    rows: list[dict[str, Any]] = []
    with replica(find_home(_settings(options))) as node_replica:
        stats = node_replica.stats()
        after = ""
        if principal is not None:
            rows += [
                show.session_row(key, state, now_ms)
                for key, state in node_replica.sessions_of(principal)
            ]
        while principal is None and len(rows) < min(limit, SHOWN_MAX):
            keys = node_replica.keys(after, PAGE)
            if not keys:
                break
            after = keys[-1]
            states = ((key, node_replica.get(key)) for key in keys)
            rows += [
                show.session_row(key, state, now_ms)
                for key, state in states
                if state is not None and (with_ended or state.ended is None)
                and not key.startswith(RESERVED_PREFIX)
            ]
    rows = rows[:limit]
    if as_json:
        click.echo(_json({"sessions": stats.sessions, "ended": stats.tombstones, "rows": rows}))
        return
    click.echo(show.sessions_text(rows))
    click.echo(f"{len(rows)} shown of {stats.sessions} sessions ({stats.tombstones} ended)")


@main.command("show", cls=_TakesId)
@click.argument("identifier", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def show_command(options: dict[str, str], identifier: str, as_json: bool) -> None:
    """One session: a cookie value, an id, or the hash that ``sessions`` and logs show."""
    now_ms = time.time_ns() // 1_000_000
    with replica(find_home(_settings(options))) as node_replica:
        found = find_session(node_replica, identifier)
    if found is None:
        raise click.ClickException(f"this node holds no session {identifier[:8]}...")
    detail = show.session_detail(*found, now_ms)
    click.echo(_json(detail) if as_json else show.detail_text(detail))


@main.command("end", cls=_TakesId)
@click.argument("identifier", metavar="ID", required=False)
@click.option("--principal", metavar="USER", help="All sessions of this user, on every node.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def end_command(
    options: dict[str, str], identifier: str | None, principal: str | None, as_json: bool
) -> None:
    """End a session everywhere, or all sessions of a user.

    ID is a cookie value, an id, or the hash that ``sessions`` and logs show.
    """
    if (identifier is None) is (principal is None):
        raise click.UsageError("give either the ID of a session or --principal USER")
    settings = _settings(options)
    home = find_home(settings)
    with replica(home) as node_replica:
        if principal is not None:
            ended = end_principal(node_replica, home, settings, principal)
        else:
            assert identifier is not None
            found = find_session(node_replica, identifier)
            if found is None:
                raise click.ClickException(f"this node holds no session {identifier[:8]}...")
            ended = end_session(node_replica, home, found[0])
    click.echo(_json(ended._asdict()) if as_json else _ended_text(ended))


@main.command("drain")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, type=click.FloatRange(min=0),
    metavar="SECONDS", help="How long to wait for the other nodes.",
)
@click.pass_obj
def drain_command(options: dict[str, str], as_json: bool, timeout_s: float) -> None:
    """Move this host's users to other nodes, before it is stopped.

    Requests are still answered, with the route of another node. Waits until every other node holds
    all that this one wrote, and exits with 0; with 1 when the time is over, and the node goes on
    draining. There is no way back but a restart: draining ends when the node's workers have all
    stopped and one starts again.
    """
    home = find_home(_settings(options))
    found = drain(home, timeout_s, lambda now: click.echo(show.drain_text(now), err=as_json))
    if as_json:
        click.echo(_json({**found._asdict(), "done": found.done}))
    if not found.done:
        raise click.ClickException(f"not drained within {timeout_s:g} s")


@main.command("check")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def check_command(options: dict[str, str], as_json: bool) -> None:
    """Whether settings, this host and the other nodes are fit for each other, and what to change.

    Run it where the node runs or is to run, as the application's user. It joins nobody and changes
    nothing. Exits with 1 if something will not work. Unless the settings say otherwise,
    distributable is taken to be true.
    """
    from clustersession.tools.check.check import check_all
    from clustersession.tools.check.report import as_text, has_problem

    verdicts = check_all(options)
    rows = [verdict._asdict() for verdict in verdicts]
    click.echo(_json(rows) if as_json else as_text(verdicts))
    sys.exit(1 if has_problem(verdicts) else 0)


@main.command("import-tomcat")
@click.argument(
    "files", metavar="SERVER.XML [WEB.XML] [CONTEXT.XML]", nargs=-1, required=True,
    type=click.Path(path_type=Path),
)
@click.option("--cluster", metavar="ENGINE[/HOST]", help="Which <Cluster>, if there are several.")
@click.option("--context", metavar="PATH", help="Which <Context> of server.xml, if several.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def import_tomcat_command(
    files: tuple[Path, ...], cluster: str | None, context: str | None, as_json: bool
) -> None:
    """Tomcat's <Cluster> as a settings file of ours, on standard output.

    Each attribute gets a line: mapped, not needed and why, no equivalent and what to do instead, or
    to decide. Nothing is read but the files named.
    """
    from clustersession.tools.tomcat.importing import import_application
    from clustersession.tools.tomcat.places import find_application
    from clustersession.tools.tomcat.text import as_plain, as_toml

    found = import_application(find_application(files, cluster, context))
    click.echo(_json(as_plain(found)) if as_json else as_toml(found))


@main.command("dashboard")
@click.option("--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; others than loopback need dashboard_token.")
@click.option("--port", default=0, type=click.IntRange(0, 65535),
              help="Any free one by default.")
@click.pass_obj
def dashboard_command(options: dict[str, str], bind: str, port: int) -> None:
    """The status page of this host's node, for a browser.

    Prints a link that lets one browser in, once. From elsewhere come through ssh -L, or set
    dashboard_token.
    """
    settings = _settings(options)
    home = find_home(settings)
    try:
        # By name: it is a layer above this one, and only it needs a web framework.
        serving = import_module("clustersession.tools.dashboard.serving")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the dashboard needs {error.name}: pip install 'clustersession[dashboard]'"
        ) from None
    serving.serve(settings, home, bind, port)


@main.command()
@click.option("--serve", is_flag=True, help="Keep it running, for a browser and your own kill -9.")
@click.option("--port", default=0, help="The balancer's port; any free one by default.")
def demo(serve: bool, port: int) -> None:
    """The reference scenario on this machine, every step with its real output."""
    from clustersession.tools.demo.demo import run_demo

    sys.exit(run_demo(serve, port=port))


@main.command("import")
@click.argument("kind", type=click.Choice(["flask-session", "django", "starsessions"]))
@click.argument("source", metavar="SOURCE")
@click.option("--prefix", help="What keys (or Django's files) begin with, where not the default.")
@click.option("--principal-key", default="", help="The attribute that names the user.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be written.")
@click.option("--keep-gone", is_flag=True, help="Keep records of sessions the source lacks now.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def import_command(
    options: dict[str, str], kind: str, source: str, prefix: str | None, principal_key: str,
    dry_run: bool, keep_gone: bool, as_json: bool,
) -> None:
    """Take over the live sessions of another store, so that nobody has to log in again.

    SOURCE is a Redis URL (redis://, rediss://, unix://), a directory, or with django the word
    "database". The old cookie is accepted where legacy_cookie_name names it; see docs/migration.md.
    """
    from clustersession.operations.ending import peers_holding
    from clustersession.tools.migration.importing import Importer
    from clustersession.tools.migration.old_stores import source_of

    settings = _settings(options)
    found, name = source_of(kind, source, prefix)
    home = find_home(settings)
    with replica(home) as node_replica:
        importer = Importer(
            node_replica, settings, name, dry_run=dry_run, keep_gone=keep_gone,
            principal_key=principal_key or ("_auth_user_id" if kind == "django" else ""),
        )
        report = importer.run(found, lambda read: click.echo(f"{read} read", err=True))
        if importer.head:
            report.peers = peers_holding(home, importer.head)
    click.echo(_json(report.as_dict()) if as_json else show.import_text(report.as_dict()))


def _ended_text(ended: Ended) -> str:
    number = f"{ended.sessions} session{'' if ended.sessions == 1 else 's'} ended"
    if ended.peers is None:
        return f"{number}; the agent did not answer: other nodes hear of it when it does"
    return f"{number}; held by {ended.peers} other node{'' if ended.peers == 1 else 's'}"


def _settings(options: dict[str, str]) -> Settings:
    return load_settings(**options)


def _json(value: object) -> str:
    return json.dumps(value, indent=2)
