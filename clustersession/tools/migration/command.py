"""Is the command ``clustersession import``."""

from typing import Any

import click

from clustersession.tools.command_line import json_option, settings_of, to_json


@click.command("import")
@click.argument("kind", type=click.Choice(["flask-session", "django", "starsessions"]))
@click.argument("source", metavar="SOURCE")
@click.option("--prefix", help="What keys (or Django's files) begin with, where not the default.")
@click.option("--principal-key", default="", help="The attribute that names the user.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be written.")
@click.option("--keep-gone", is_flag=True, help="Keep records of sessions the source lacks now.")
@json_option
@click.pass_obj
def import_sessions(
    options: dict[str, str], kind: str, source: str, prefix: str | None, principal_key: str,
    dry_run: bool, keep_gone: bool, as_json: bool,
) -> None:
    """Take over the live sessions of another store, so that nobody has to log in again.

    SOURCE is a Redis URL (redis://, rediss://, unix://), a directory, or with django the word
    "database". The old cookie is accepted where legacy_cookie_name names it; see docs/migration.md.
    """
    from clustersession.operations.ending import peers_holding
    from clustersession.operations.nodes import find_home, replica
    from clustersession.tools.migration.importing import Importer
    from clustersession.tools.migration.old_stores import source_of

    settings = settings_of(options)
    found, name = source_of(kind, source, prefix)
    home = find_home(settings, in_use=False)
    with replica(home) as opened:
        importer = Importer(
            opened, settings, name, dry_run=dry_run, keep_gone=keep_gone,
            principal_key=principal_key or ("_auth_user_id" if kind == "django" else ""),
        )
        report = importer.run(found, lambda read: click.echo(f"{read} read", err=True))
        if importer.head:
            report.peers = peers_holding(home, importer.head)
    click.echo(to_json(report.as_dict()) if as_json else report_text(report.as_dict()))


def report_text(report: dict[str, Any]) -> str:
    """Say what an import did, for people."""
    counts = (
        ("imported", "new here"), ("updated", "brought up to date"), ("unchanged", "unchanged"),
        ("exchanged", "exchanged or ended here before, left alone"), ("expired", "expired"),
        ("gone", "gone from the old store, ended here"),
    )
    tried = " (dry run, nothing written)" if report["dry_run"] else ""
    lines = [f"{report['read']} read{tried}"]
    lines += [f"  {report[name]:>8} {text}" for name, text in counts if report[name]]
    lines += [f"  {count:>8} refused: {reason}" for reason, count in report["refused"].items()]
    lines += [
        f"  {row['count']:>8} values dropped: {row['key']!r} of type {row['type']}"
        for row in report["dropped"]
    ]
    if report["read"] == 0:
        lines.append("nothing found: check the source and --prefix")
    if report["peers"] is not None:
        lines.append(f"held by {report['peers']} other nodes")
    elif not report["dry_run"]:
        lines.append("no agent answered: other nodes hear of it when one runs")
    return "\n".join(lines)
