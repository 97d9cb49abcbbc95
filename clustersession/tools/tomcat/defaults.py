"""Says what Tomcat does where its files say nothing, and what stands for it here."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from clustersession.settings.rules import SECRET_COMMAND
from clustersession.tools.tomcat.application import Application
from clustersession.tools.tomcat.rows import Fate
from clustersession.tools.tomcat.xml import Element

_SAME = "the same here"
_ELEMENTS = {
    "Manager": ("DeltaManager", "every node holds every session here as well"),
    "Membership": ("McastService 228.0.0.4:45564, frequency 500, dropTime 3000", _SAME),
    "Receiver": ("NioReceiver, port 4000, autoBind 100", _SAME),
    "Sender": ("ReplicationTransmitter with PooledParallelSender", "the agent sends"),
    "Interceptor": (
        "MessageDispatchInterceptor, TcpFailureDetector",
        "the agent streams in the background and asks a silent member over TCP",
    ),
    "ClusterListener": ("ClusterSessionListener", "the agent hands changes to the replica"),
    "Valve": (
        "ReplicationValve, JvmRouteBinderValve",
        'changes are committed before the response; rewrite is "failover"',
    ),
}
"""What Tomcat takes for an element that is not there, and what stands for it here."""


class Default(NamedTuple):
    """Holds what the files do not say. ``setting`` and ``value``: what is set because of it."""

    fate: Fate
    what: str
    words: str
    setting: str = ""
    value: object = None


def missing(
    application: Application, settings: Mapping[str, Any], named: Collection[str]
) -> Iterator[Default]:
    """List everything that follows from what the files leave out.

    ``settings``: what the files did say. ``named``: the settings they speak of, decided or not.
    """
    yield Default(
        Fate.TO_DECIDE, "no secret",
        "Tomcat trusts its network; ours needs a secret, the same on all nodes, in "
        f"CLUSTERSESSION_SECRET: {SECRET_COMMAND}",
    )
    if settings.get("multicast_address") == "" and "seeds" not in settings:
        yield Default(
            Fate.TO_DECIDE, "neither multicast nor members",
            'nodes cannot find each other: set seeds, such as ["10.0.0.1:4000"] or '
            '["dns:NAME:4000"] for all addresses of a name',
        )
    yield from _application(application, named)
    yield from _cluster(application.cluster, named)


def _application(application: Application, settings: Collection[str]) -> Iterator[Default]:
    if "route" not in settings:
        yield Default(
            Fate.TO_DECIDE, "no jvmRoute",
            "set route, or leave it to be the first label of the host name; the balancer needs it",
        )
    if "cookie_name" not in settings:
        yield Default(
            Fate.TO_DECIDE, "the cookie is JSESSIONID",
            "ours is CLUSTERSESSION: change the balancer's rule, or set cookie_name = "
            '"JSESSIONID" to leave it as it is',
        )
    if application.web_app is None:
        yield Default(
            Fate.TO_DECIDE, "no web.xml was given",
            "it is taken to have <distributable/>, and no <session-config> but the default",
        )
    elif not any(application.web_app.named("distributable")):
        yield Default(
            Fate.MAPPED, "no <distributable/> in web.xml",
            "Tomcat keeps such sessions on their node, and so does this", "distributable", False,
        )
    if "idle_timeout_s" not in settings:
        yield Default(Fate.NOT_NEEDED, "no <session-timeout>: 30 minutes", _SAME)


def _cluster(cluster: Element, settings: Collection[str]) -> Iterator[Default]:
    if "channelSendOptions" not in cluster.attributes:
        yield Default(
            Fate.NOT_NEEDED, "no channelSendOptions: 8, asynchronous",
            'ack is "one" here, so that a node may die and nothing is lost; "none" is its '
            "counterpart",
        )
    if "events" not in settings:
        yield Default(
            Fate.NOT_NEEDED, "no notifyListenersOnReplication: true",
            'events is "once" here: an event is reported by the node that caused it; set '
            '"everywhere" if listeners on all nodes have to know',
        )
    channel = next(cluster.named("Channel"), None)
    inside = channel.children if channel is not None else []
    names = {element.name for element in (*cluster.children, *inside)}
    for name, (what, words) in _ELEMENTS.items():
        if name not in names:
            yield Default(Fate.NOT_NEEDED, f"no <{name}>: {what}", words)
    if "Valve" in names and "rewrite" not in settings:
        yield Default(
            Fate.TO_DECIDE, "a <Valve>, and no JvmRouteBinderValve",
            "Tomcat then leaves the route in the cookie as it is; here it is replaced at a "
            'failover: set rewrite = "never" to have it as in Tomcat',
        )
