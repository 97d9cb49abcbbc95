"""Chooses the elements in Tomcat's files that make up the application that is imported."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clustersession.core.errors import ConfigurationError
from clustersession.tools.tomcat.xml import Element, read_xml

_KINDS = {"Server": "server.xml", "Cluster": "server.xml", "web-app": "web.xml",
          "Context": "context.xml"}


@dataclass(slots=True)
class Application:
    """Holds the elements that matter. contexts: the file's own first, then server.xml's."""

    cluster: Element
    engine: Element | None
    hosts: list[Element]
    contexts: list[Element]
    web_app: Element | None


@dataclass(slots=True)
class _Place:
    label: str
    cluster: Element
    engine: Element | None
    hosts: list[Element]


def find_application(
    paths: Iterable[Path], cluster: str | None, context: str | None
) -> Application:
    """Read the files, in any order, and choose the cluster and the context.

    ``cluster`` is "ENGINE" or "ENGINE/HOST", ``context`` a Context's path; both are needed only
    where there are several. Raises ConfigurationError that says what to give.
    """
    roots: dict[str, Element] = {}
    for path in paths:
        root = read_xml(path)
        kind = _KINDS.get(root.name)
        if kind is None:
            raise ConfigurationError(
                f"{path.name} begins with <{root.name}>; server.xml begins with <Server>, web.xml "
                "with <web-app> and context.xml with <Context>"
            )
        if kind in roots:
            raise ConfigurationError(f"{roots[kind].file} and {path.name} are both a {kind}")
        roots[kind] = root
    if "server.xml" not in roots:
        raise ConfigurationError("none of the files is a server.xml, which has the <Cluster>")
    place = _choose(list(_places(roots["server.xml"])), cluster, roots["server.xml"].file)
    contexts = [roots["context.xml"]] if "context.xml" in roots else []
    contexts += _inner_context(place, context)
    return Application(
        place.cluster, place.engine, place.hosts, contexts, roots.get("web.xml")
    )


def _places(root: Element) -> Iterator[_Place]:
    if root.name == "Cluster":
        yield _Place("", root, None, [])
    for service in root.named("Service"):
        for engine in service.named("Engine"):
            name = engine.attributes.get("name", "")
            hosts = list(engine.named("Host"))
            for found in engine.named("Cluster"):
                yield _Place(name, found, engine, hosts)
            for host in hosts:
                for found in host.named("Cluster"):
                    label = f"{name}/{host.attributes.get('name', '')}"
                    yield _Place(label, found, engine, [host])


def _choose(places: list[_Place], wanted: str | None, file: str) -> _Place:
    if not places:
        raise ConfigurationError(
            f"{file} has no <Cluster> in an Engine or Host; in the file that comes with Tomcat it "
            "stands in a comment"
        )
    found = [place for place in places if wanted in (None, place.label)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{place.label} (line {place.cluster.line})" for place in places)
    if not found:
        raise ConfigurationError(f"{file} has no <Cluster> at {wanted}; there is {listed}")
    raise ConfigurationError(
        f"{file} has several <Cluster> elements: {listed}; choose with --cluster ENGINE or "
        "--cluster ENGINE/HOST, and give engines names of their own"
    )


def _inner_context(place: _Place, wanted: str | None) -> list[Element]:
    inside = [context for host in place.hosts for context in host.named("Context")]
    found = [c for c in inside if wanted in (None, c.attributes.get("path", ""))]
    if len(found) > 1:
        listed = ", ".join(
            f"{context.attributes.get('path', '')!r} (line {context.line})" for context in found
        )
        raise ConfigurationError(
            f"{inside[0].file} has several <Context> elements: {listed}; each is an application "
            "with settings of its own: choose with --context PATH"
        )
    if wanted is not None and not found:
        raise ConfigurationError(f"there is no <Context> of path {wanted!r}")
    return found
