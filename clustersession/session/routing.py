"""Decides whose route the cookie should name, by what is known of the cluster."""

from typing import NamedTuple

from clustersession.core.placement import owner
from clustersession.settings.settings import Rewrite


class Decision(NamedTuple):
    """Says what is to become of a cookie: ``route`` is what to write into it, None to leave it.

    ``strayed``: the balancer brought a session whose own node is well. ``failover``: the route
    moved because its node cannot serve.
    """

    route: str | None = None
    strayed: bool = False
    failover: bool = False


KEEP = Decision()
_STRAYED = Decision(strayed=True)


def decide(
    rewrite: Rewrite, key: str, cookie_route: str | None, own: str, serving: frozenset[str]
) -> Decision:
    """Decide what to do with the route of an authentic, known session.

    ``serving`` are the routes of nodes alive, not draining and with a worker, ours among them
    unless we drain. A client without a route gets ours whatever the policy: it has none to keep.
    """
    if cookie_route is None:
        return Decision(own)
    if rewrite == "always" and (own in serving or not serving):
        return KEEP if cookie_route == own else Decision(own, failover=cookie_route not in serving)
    if cookie_route in serving:
        return KEEP if cookie_route == own else _STRAYED
    if rewrite == "never":
        return KEEP
    # Every survivor that is asked must name the same owner, or two tabs fight over the route.
    new = owner(key, serving)
    if new is None:
        new = own
    return KEEP if new == cookie_route else Decision(new, failover=True)


def route_for_new(key: str, own: str, serving: frozenset[str]) -> str:
    """Return the route of a session made now: ours, unless we drain and others serve."""
    if own in serving or not serving:
        return own
    return owner(key, serving) or own
