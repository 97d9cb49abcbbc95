"""Makes the pages: gathers what each template is filled with."""

import time
from typing import Any, NamedTuple

from markupsafe import Markup

from clustersession.agent.copies import HELD
from clustersession.core.errors import WireError
from clustersession.core.state import shared
from clustersession.operations.explaining import LIVE, Explanation
from clustersession.operations.listing import session_detail, when
from clustersession.operations.observing import Snapshot
from clustersession.session.changes import visible_values
from clustersession.session.merging import decode_attribute
from clustersession.tools.dashboard.rendering import render
from clustersession.tools.dashboard.sections import sections

VALUE_SHOWN_MAX = 2000


class PageContext(NamedTuple):
    """Holds what every page needs to know of its request.

    base: the path under which the dashboard stands, with a slash at its end. nonce: names the
    scripts and styles that may run. form_token: goes with every form.
    """

    base: str
    nonce: str
    form_token: str = ""


def overview(context: PageContext, snapshot: Snapshot) -> Markup:
    """Show the cluster: what is live, a search, and what can be done."""
    status = snapshot.status
    return render(
        "overview.html", context=context, parts=sections(snapshot),
        title=f"{status['cluster_name']} · clustersession" if status else "clustersession",
        where=f"{status['cluster_name']} · {status['route']}" if status else "",
        phase=status.get("phase"), has_agent="agent_pid" in status,
    )


def explanation(
    context: PageContext, found: Explanation, *, reveals: bool, values: bool = False
) -> Markup:
    """Show what became of one session, where it is, and what can be done with it.

    ``reveals``: values may be shown; ``values``: they are, on this page.
    """
    name = f"Session {found.name}" if found.name else "Session"
    detail = None
    if found.state is not None:
        detail = session_detail(found.key, found.state, time.time_ns() // 1_000_000)
    has_user = bool(found.copies) and bool(found.copies[0].get("has_principal"))
    return render(
        "session.html", context=context, title=f"{name} · clustersession", name=name, found=found,
        is_live=found.verdict == LIVE, copies=_copies(found), detail=detail,
        facts=[] if detail is None else _facts(detail, has_user),
        attributes=[] if detail is None else _attributes(found, detail, values),
        reveals=reveals, values=values, has_user=has_user,
        can_end=found.state is not None and found.state.ended is None,
    )


def login(context: PageContext, *, takes_token: bool, wrong: bool) -> Markup:
    """Show where the token is typed in, or say how to get a link."""
    return render("login.html", context=context, title="Sign in · clustersession",
                  takes_token=takes_token, wrong=wrong)


def message(context: PageContext, headline: str, text: str, *, good: bool = False) -> Markup:
    """Say one thing."""
    return render("message.html", context=context, title=f"{headline} · clustersession",
                  headline=headline, text=text, good=good)


class _CopyRow(NamedTuple):
    """Describes one node's copy of a session."""

    node: str
    held: str
    versions: str
    used: str
    attributes: str


def _copies(found: Explanation) -> list[_CopyRow]:
    routes = _routes(found)
    rows = []
    for copy in found.copies:
        is_held = copy["copy"] == HELD
        versions = ", ".join(
            f"{routes.get(node) or node} {seq}" for node, seq in copy.get("versions", {}).items()
        )
        rows.append(_CopyRow(
            (copy["route"] or copy["node"]) + (" (this node)" if copy.get("own") else ""),
            "held, ended" if is_held and copy["ended"] else copy["copy"],
            versions or "-",
            when(copy["accessed_ms"]) if is_held else "-",
            str(copy["attributes"]) if is_held else "-",
        ))
    return rows


def _routes(found: Explanation) -> dict[str, str]:
    return {copy["node"]: copy["route"] for copy in found.copies}


def _facts(detail: dict[str, Any], has_user: bool) -> list[tuple[str, str]]:
    return [
        ("State", detail["state"]), ("Created", detail["created"]),
        ("Last used", detail["last_access"]), ("Expires", detail["expires"]),
        ("User", "set, not shown" if has_user else "none"), ("Label", detail["label"] or "none"),
    ]


class _AttributeRow(NamedTuple):
    """Describes one attribute. shown: its value, where that may be seen; kind: else what it is."""

    name: str
    kind: str
    shown: str | None
    bytes: int
    written: str
    by: str


def _attributes(
    found: Explanation, detail: dict[str, Any], values: bool
) -> list[_AttributeRow]:
    assert found.state is not None
    routes = _routes(found)
    stored = visible_values(shared(found.state).registers)
    return [
        _AttributeRow(
            row["name"], *_value(stored.get(row["name"]), values), row["bytes"], row["written"],
            routes.get(row["by_node"]) or row["by_node"],
        )
        for row in detail["attribute_list"]
    ]


def _plain(value: object) -> str:
    try:
        return repr(value)
    except ValueError:
        # Python writes no integer of more than 4,300 digits, wherever in the value it stands.
        return f"a {type(value).__name__} with a number too long to be shown"


def _value(data: bytes | None, shown: bool) -> tuple[str, str | None]:
    """Tell what a value is or, if it is to be ``shown``, how it looks."""
    if data is None:
        return "-", None
    try:
        value = decode_attribute(data)
    except WireError:
        return "cannot be read here", None
    if shown:
        plain = _plain(value)
        return "", plain[:VALUE_SHOWN_MAX] + ("…" if len(plain) > VALUE_SHOWN_MAX else "")
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if hasattr(value, "__len__") else kind, None
