"""The pages, around the live parts."""

import time
from typing import Any, NamedTuple

from clustersession.agent.copies import HELD
from clustersession.core.errors import WireError
from clustersession.core.state import SYSTEM_PREFIX, SessionState
from clustersession.operations import listing
from clustersession.operations.explaining import LIVE, Explanation
from clustersession.operations.observing import Snapshot
from clustersession.tools.dashboard.html import Html, fill, join
from clustersession.tools.dashboard.sections import sections
from clustersession.wire.values import decode_value

VALUE_SHOWN_MAX = 2000


class Place(NamedTuple):
    """What a page needs to know of the request: where the dashboard stands, and two tokens."""

    base: str
    nonce: str
    form_token: str = ""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{head}
<link rel="icon" href="{base}icon.svg" type="image/svg+xml">
<link rel="stylesheet" nonce="{nonce}" href="{base}style.css"></head>
<body><a class="skip" href="#main">To the content</a>
<header><h1><a href="{base}">clustersession</a></h1>{bar}</header>
<main id="main">{main}</main></body></html>"""


def page(place: Place, title: str, main: Html, *, bar: object = "", head: object = "") -> Html:
    """A whole page."""
    return fill(_PAGE, title=title, base=place.base, nonce=place.nonce, main=main, bar=bar,
                head=head)


def overview(place: Place, snapshot: Snapshot) -> Html:
    """The cluster: what is live, a search, and what can be done."""
    parts = sections(snapshot)
    status = snapshot.status
    main = fill(
        """<div id="summary" class="live">{summary}</div>
<section class="card picture" aria-labelledby="h1"><h2 id="h1">Cluster</h2>
<div id="picture" class="live">{picture}</div>
<p class="note">↑ changes of this node that the other has not confirmed; ↓ changes of the other that
this node lacks. Sessions: those that the node wrote last; every node holds all.</p></section>
<dl id="figures" class="figures live">{figures}</dl>
<section class="card" aria-labelledby="h2"><h2 id="h2">Nodes</h2>
<div id="nodes" class="live">{nodes}</div></section>
<div class="columns"><section class="card" aria-labelledby="h3"><h2 id="h3">What happened</h2>
<p class="note">The agent's newest log lines; times are UTC.</p>
<div id="timeline" class="live timeline">{timeline}</div></section>
<div>{search}{actions}</div></div>""",
        **parts, search=_search(place), actions=_actions(place, snapshot, parts["others"]),
    )
    bar = fill(
        '<p class="where">{name}<span class="live-state" id="live-state" data-live="live">'
        'snapshot of <span id="clock">{clock}</span></span></p><a class="button" href="{base}">'
        "Reload</a>{out}",
        name=f"{status['cluster_name']} · {status['route']}" if status else "", **_only(
            parts, "clock"
        ), base=place.base, out=_form(place, "logout", "<button>Sign out</button>"),
    )
    head = fill(
        '<noscript><meta http-equiv="refresh" content="10"></noscript>'
        '<script nonce="{nonce}" src="{base}live.js" defer data-events="{base}events"></script>',
        nonce=place.nonce, base=place.base,
    )
    title = f"{status['cluster_name']} · clustersession" if status else "clustersession"
    return page(place, title, main, bar=bar, head=head)


def explanation(
    place: Place, found: Explanation, *, reveals: bool, values: bool = False
) -> Html:
    """What became of one session, where it is, and what can be done with it."""
    now_ms = time.time_ns() // 1_000_000
    title = f"Session {found.name}" if found.name else "Session"
    parts = [fill(
        '<div class="banner {kind}"><h2>{headline}</h2>{reasons}</div>',
        kind="good" if found.verdict == LIVE else "warn", headline=found.headline,
        reasons=join(fill("<p>{line}</p>", line=line) for line in found.reasons),
    )]
    if found.copies:
        parts.append(_copies(found))
    if found.state is not None:
        parts.append(_attributes(place, found, now_ms, reveals=reveals, values=values))
    if found.state is not None and found.state.ended is None:
        parts.append(_session_actions(place, found))
    parts.append(_search(place))
    main = fill('<p class="path"><a href="{base}">Cluster</a> / {title}</p>{parts}',
                base=place.base, title=title, parts=join(parts))
    return page(place, f"{title} · clustersession", main)


def login(place: Place, *, takes_token: bool, wrong: bool) -> Html:
    """Where the token is typed in, or how to get one."""
    if takes_token:
        body = _form(
            place, "login",
            '<label for="token">Token</label><input id="token" name="token" type="password" '
            'autocomplete="current-password" required autofocus>'
            '<button class="main">Sign in</button>'
            '<p class="note">It is the setting <code>dashboard_token</code>.</p>',
        )
    else:
        body = Html(
            "<p>The link that <code>clustersession dashboard</code> prints lets one browser in, "
            "once. Start the command again for another link.</p>"
        )
    why = Html('<p class="banner bad" role="alert">That token is wrong, or was used.</p>')
    main = fill('<section class="card small"><h2>Sign in</h2>{why}{body}</section>',
                why=why if wrong else "", body=body)
    return page(place, "Sign in · clustersession", main)


def message(place: Place, title: str, text: str, *, good: bool = False) -> Html:
    """A page that says one thing."""
    main = fill(
        '<div class="banner {kind}" role="status"><h2>{title}</h2><p>{text}</p></div>'
        '<p><a class="button" href="{base}">To the cluster</a></p>',
        kind="good" if good else "bad", title=title, text=text, base=place.base,
    )
    return page(place, f"{title} · clustersession", main)


def _form(place: Place, action: str, markup: str) -> Html:
    """A form with its token. ``markup`` is ours: values in it went through ``fill``."""
    return fill(
        '<form method="post" action="{base}{action}">'
        '<input type="hidden" name="form_token" value="{token}">{content}</form>',
        base=place.base, action=action, token=place.form_token,
        content=Html(markup),
    )


def _search(place: Place) -> Html:
    return fill(
        '<section class="card"><h2>Find a session</h2>{form}</section>',
        form=_form(
            place, "find",
            '<label for="id">Cookie value, id, or the 8 digits from a log</label>'
            '<div class="row"><input id="id" name="id" required maxlength="200" '
            'autocomplete="off" autocapitalize="off" spellcheck="false">'
            '<button class="main">Explain</button></div>'
            '<p class="note">Says where it is, or why it was not found. What is typed here is not '
            "kept and stands in no address.</p>",
        ),
    )


_SURE = '<label class="sure"><input type="checkbox" name="sure" value="yes" required> {}</label>'


def _actions(place: Place, snapshot: Snapshot, others: Html) -> Html:
    users = _form(
        place, "end-principal",
        '<h3>End all sessions of a user</h3><label for="user">The user, as the application put it '
        'into <code>session.principal</code></label><input id="user" name="principal" required '
        'maxlength="200" autocomplete="off">' + _SURE.format("on every node") +
        '<button class="danger">End them</button>',
    )
    drains: list[Html] = []
    if snapshot.status.get("phase") == "draining":
        drains.append(Html('<p class="note">This node drains already.</p>'))
    elif "agent_pid" in snapshot.status:
        drains.append(_form(
            place, "drain",
            "<p>Moves the users of this node to other nodes, before it is stopped. Only a restart "
            "of its workers undoes it.</p>" + _SURE.format("drain this node") +
            '<button class="danger">Drain</button>',
        ))
    drains.append(fill('<div id="others" class="live">{others}</div>', others=others))
    return fill(
        '<section class="card actions"><h2>Act</h2>{users}<h3>Drain</h3>{drains}</section>',
        users=users, drains=join(drains),
    )


def _copies(found: Explanation) -> Html:
    routes = {copy["node"]: copy["route"] for copy in found.copies}
    rows = []
    for copy in found.copies:
        versions = ", ".join(
            f"{routes.get(node) or node} {seq}" for node, seq in copy.get("versions", {}).items()
        )
        is_held = copy["copy"] == HELD
        rows.append(fill(
            '<tr><td data-label="Node">{route}{own}</td><td data-label="Copy">{held}</td>'
            '<td data-label="Version">{versions}</td><td data-label="Last used">{used}</td>'
            '<td data-label="Attributes">{n}</td></tr>',
            route=copy["route"] or copy["node"], own=" (this node)" if copy.get("own") else "",
            held=copy["copy"] if not is_held or not copy["ended"] else "held, ended",
            versions=versions or "-",
            used=listing.when(copy["accessed_ms"]) if is_held else "-",
            n=copy["attributes"] if is_held else "-",
        ))
    return fill(
        '<section class="card"><h2>Where it is</h2><table><thead><tr><th>Node<th>Copy'
        "<th>Version<th>Last used (UTC)<th>Attributes</tr></thead><tbody>{rows}</tbody></table>"
        '<p class="note">A version is the place of the last write of each node in its feed: copies '
        "with equal versions are equal.</p></section>",
        rows=join(rows),
    )


def _attributes(
    place: Place, found: Explanation, now_ms: int, *, reveals: bool, values: bool
) -> Html:
    assert found.state is not None
    detail = listing.session_detail(found.key, found.state, now_ms)
    facts = join(
        fill("<div><dt>{name}</dt><dd>{value}</dd></div>", name=name, value=value)
        for name, value in (
            ("State", detail["state"]), ("Created", detail["created"]),
            ("Last used", detail["last_access"]), ("Expires", detail["expires"]),
            ("User", "set, not shown" if found.copies[0]["has_principal"] else "none"),
        )
    )
    routes = {copy["node"]: copy["route"] for copy in found.copies}
    rows = join(
        fill(
            '<tr><td data-label="Attribute">{name}</td><td data-label="Value">{value}</td>'
            '<td data-label="Bytes">{bytes:,}</td><td data-label="Written">{written}</td>'
            '<td data-label="By">{by_node}</td></tr>',
            **{
                **attribute, "value": _value(found.state, attribute["name"], values),
                "by_node": routes.get(attribute["by_node"]) or attribute["by_node"],
            },
        )
        for attribute in detail["attribute_list"]
    )
    table = fill(
        "<table><thead><tr><th>Attribute<th>Value<th>Bytes<th>Written (UTC)<th>By node</tr></thead>"
        "<tbody>{rows}</tbody></table>", rows=rows,
    ) if rows else Html('<p class="note">It holds no attributes.</p>')
    reveal: object = ""
    if rows and reveals and not values:
        reveal = _form(place, f"session/{found.handle}/values",
                       "<button>Show the values</button>")
    elif rows and not reveals:
        reveal = Html(
            '<p class="note">Values are hidden; <code>dashboard_values</code> allows to show '
            "them.</p>"
        )
    return fill(
        '<section class="card"><h2>What it holds</h2><dl class="facts">{facts}</dl>{table}{reveal}'
        "</section>", facts=facts, table=table, reveal=reveal,
    )


def _value(state: SessionState, name: str, shown: bool) -> Html:
    data = state.registers[name].value
    if data is None or name.startswith(SYSTEM_PREFIX):
        return Html("-")
    try:
        value = decode_value(data)
    except WireError:
        return Html("cannot be read here")
    if shown:
        plain = repr(value)
        rest = "…" if len(plain) > VALUE_SHOWN_MAX else ""
        return fill("<code>{plain}{rest}</code>", plain=plain[:VALUE_SHOWN_MAX], rest=rest)
    return fill("{kind}", kind=_kind(value))


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if hasattr(value, "__len__") else kind


def _session_actions(place: Place, found: Explanation) -> Html:
    parts = [_form(
        place, f"session/{found.handle}/end",
        _SURE.format("on every node") + '<button class="danger">End this session</button>',
    )]
    if found.copies[0]["has_principal"]:
        parts.append(_form(
            place, f"session/{found.handle}/end-principal",
            _SURE.format("all sessions of its user, on every node")
            + '<button class="danger">End all of its user</button>',
        ))
    return fill('<section class="card actions"><h2>Act</h2>{parts}</section>', parts=join(parts))


def _only(parts: dict[str, Html], *names: str) -> dict[str, Html]:
    return {name: parts[name] for name in names}
