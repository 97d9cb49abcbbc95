"""Explains why an id was not found: judges the id and what each node holds."""

import time
from dataclasses import dataclass, field
from typing import Any

from clustersession.agent.copies import HELD, NOT_HELD, SILENT, describe_copy
from clustersession.core.ids import KEY_LENGTH, split_cookie
from clustersession.core.revocation import RESERVED_PREFIX
from clustersession.core.state import (
    ENDED_INVALIDATED,
    ENDED_LIMIT,
    ENDED_REPLACED,
    ENDED_REVOKED,
    ENDED_ROTATED,
    SessionState,
)
from clustersession.net.agent_link import AgentGone, BlockingLink
from clustersession.operations.finding import find_session
from clustersession.operations.listing import when
from clustersession.operations.observing import Access
from clustersession.replica.home import NodeHome, parse_name
from clustersession.session.token import id_signer
from clustersession.session.users import handle_of
from clustersession.settings.settings import Settings
from clustersession.wire.local import Operation

LOCATE_TIMEOUT_S = 2.0
TEXT_LENGTH_MAX = 200

REASONS = {
    ENDED_INVALIDATED: "a request ended it: a logout, session.clear() or session.invalidate()",
    ENDED_REPLACED: "a request ended it and began another one, as a login that clears it first",
    ENDED_ROTATED: "it went on under another id: session.rotate(), as at a login",
    ENDED_REVOKED: "it was revoked: by an operator, or with all sessions of its user",
    ENDED_LIMIT: "its user opened more sessions than sessions_per_principal_max allows",
}

_AUTHENTIC = (
    "Its id is authentic, so a node of this cluster made it once. It expired or ended so long ago "
    "that nobody keeps its record any more, or its creation was never stored, or all nodes that "
    "held it were lost."
)

LIVE, ENDED, EXPIRED, ELSEWHERE, FORGED, GONE, UNKNOWN = (
    "live", "ended", "expired", "elsewhere", "forged", "gone", "unknown"
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Says what became of a session.

    verdict: one of the words above; headline, reasons: the same for people. handle, name: of the
    session, when one was found; neither can be used in its place. copies: as ``agent.copies``
    describes them, with routes, this node's first. state: this node's copy. refused: the id
    that was given would not be accepted, whatever became of the session.
    """

    verdict: str
    headline: str
    reasons: tuple[str, ...] = ()
    handle: str = ""
    copies: tuple[dict[str, Any], ...] = ()
    state: SessionState | None = field(default=None, repr=False)
    key: str = field(default="", repr=False)
    refused: bool = False

    @property
    def name(self) -> str:
        """Name the session as logs do."""
        return self.handle[:8]


def explain(access: Access, text: str) -> Explanation:
    """Explain a cookie value, an id, a handle, or the 8 digits of a hash that logs show.

    Asks the peers for at most LOCATE_TIMEOUT_S; a name of a session that is not here names nothing
    that they could be asked for. Raises ReplicaUnusable.
    """
    text = text.strip()[:TEXT_LENGTH_MAX]
    parts = split_cookie(text)
    known = bool(access.settings.secret)
    signature = "" if parts is None or not known else _judge_signature(access.settings, parts[0])
    with access.replica() as replica:
        found = find_session(replica, text)
        node = replica.node
    if found is not None and found[0].startswith(RESERVED_PREFIX):
        found = None
    key = found[0] if found is not None else parts[0][:KEY_LENGTH] if parts is not None else ""
    state = None if found is None else found[1]
    if not key:
        return _unknown(text)
    if signature and state is None:
        return Explanation(FORGED, "Not an id of this cluster", (signature,), refused=True)
    route = parse_name(access.home.directory)[1]
    own = {"route": route, **describe_copy(node, state), "own": True}
    peers = sorted(_peers_copies(access.home, key), key=lambda copy: copy["route"])
    copies = (own, *peers)
    return _judge(key, state, copies, signature, known)


def _judge_signature(settings: Settings, identifier: str) -> str:
    """Say why an id is refused; empty when its signature is good."""
    if id_signer(settings.secret, settings.cluster_name).key_of(identifier):
        return ""
    return (
        "Its signature fits none of the configured secrets: it was made up or changed, it belongs "
        "to another cluster, or it was signed with a secret that has since been taken out. Every "
        "node treats it as absent and asks nobody for it."
    )


def _peers_copies(home: NodeHome, key: str) -> list[dict[str, Any]]:
    try:
        link = BlockingLink(home.agent_socket)
    except AgentGone:
        return []
    try:
        answer = link.ask(
            Operation.LOCATE, key, int(LOCATE_TIMEOUT_S * 1000), timeout_s=LOCATE_TIMEOUT_S + 1
        )
    except (AgentGone, TimeoutError):
        return []
    finally:
        link.close()
    return list(answer) if isinstance(answer, list) else []


def _judge(
    key: str, state: SessionState | None, copies: tuple[dict[str, Any], ...], signature: str,
    known: bool,
) -> Explanation:
    routes = {copy["node"]: copy["route"] or copy["node"] for copy in copies}
    held = [copy for copy in copies if copy["copy"] == HELD]
    verdict, headline, reasons = _verdict(held, routes)
    if verdict == LIVE and state is None:
        where = ", ".join(routes[copy["node"]] for copy in held)
        verdict, headline = ELSEWHERE, f"Live, but not on this node: {where} has it"
        reasons = [
            "This node fetches it at the next request that brings its id, and streams and "
            "anti-entropy bring it without one.", *reasons,
        ]
    if not held:
        verdict, headline, reasons = GONE, "No node that answered holds it", [
            _AUTHENTIC if known else "The settings given to the dashboard hold no secret, so "
            "whether the id was ever made here cannot be told.",
        ]
    silent = [routes[copy["node"]] for copy in copies if copy["copy"] == SILENT]
    if silent:
        reasons.append(f"No answer within {LOCATE_TIMEOUT_S:g} s from {', '.join(silent)}.")
    if len(copies) == 1:
        reasons.append("No peer could be asked: there is none, or this node's agent is not there.")
    if signature:
        reasons.append(f"The id that was given is refused all the same. {signature}")
    lacking = [routes[copy["node"]] for copy in copies if copy["copy"] == NOT_HELD]
    if held and lacking:
        reasons.append(f"Not held by {', '.join(lacking)}.")
    if len({tuple(sorted(copy["versions"].items())) for copy in held}) > 1:
        reasons.append("The copies differ: some nodes have not received the newest writes yet.")
    return Explanation(
        verdict, headline, tuple(reasons), handle_of(key), copies, state, key, bool(signature)
    )


def _verdict(
    held: list[dict[str, Any]], routes: dict[str, str]
) -> tuple[str, str, list[str]]:
    ends = [copy["ended"] for copy in held if copy["ended"]]
    if ends:
        # The earliest counts, as in a merge.
        end = min(ends, key=lambda end: end["at_ms"])
        by, reason = routes.get(end["node"], end["node"]), end["reason"]
        reasons = [f"Reason: {reason}; {REASONS.get(reason, 'unknown to this version')}."]
        if len(ends) < len(held):
            reasons.append("Some nodes still hold it as live: the end is on its way to them.")
        return ENDED, f"Ended at {when(end['at_ms'])} UTC by node {by}", reasons
    if not held:
        return GONE, "", []
    newest = max(held, key=lambda copy: copy["expires_ms"])
    if newest["expires_ms"] >= time.time_ns() // 1_000_000:
        return LIVE, f"Live until {when(newest['expires_ms'])} UTC if nobody uses it", []
    why = "its deadline, fixed when it was created" if (
        newest["expires_ms"] == newest["deadline_ms"]
    ) else f"{newest['idle_ms'] / 1000:g} s without a request"
    headline = f"Expired at {when(newest['expires_ms'])} UTC"
    used = when(newest["accessed_ms"])
    return EXPIRED, headline, [f"Reason: {why}. Last used at {used} UTC."]


def _unknown(text: str) -> Explanation:
    if len(text) in (8, 32) and not set(text) - set("0123456789abcdef"):
        return Explanation(UNKNOWN, "This node holds no session of that name", (
            "The name is a hash, so the other nodes cannot be asked for it. Give the whole cookie "
            "value, or look on the node whose log has the name.",
        ))
    return Explanation(UNKNOWN, "That is no session id", (
        "An id is 39 characters, in a cookie followed by a dot and a route; the name in a log is 8 "
        "hexadecimal digits. A cookie that is cut or of another application looks like this too: "
        "nodes treat it as absent.",
    ))
