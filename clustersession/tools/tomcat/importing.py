"""Turns Tomcat's configuration into settings of ours, with a line for every attribute."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clustersession.settings.rules import describe
from clustersession.settings.settings import Settings, find_problems, setting_names
from clustersession.tools.tomcat.application import Application
from clustersession.tools.tomcat.channel import CHANNEL
from clustersession.tools.tomcat.defaults import missing
from clustersession.tools.tomcat.rows import Fate, Row, Table, host
from clustersession.tools.tomcat.sessions import SESSIONS
from clustersession.tools.tomcat.xml import Element

TABLE: Table = {**CHANNEL, **SESSIONS}

_CLASS_OF = {
    "Cluster": "SimpleTcpCluster", "Manager": "DeltaManager", "Channel": "GroupChannel",
    "Membership": "McastService", "Receiver": "NioReceiver", "Sender": "ReplicationTransmitter",
    "Transport": "PooledParallelSender", "Member": "StaticMember", "LocalMember": "StaticMember",
    "Deployer": "FarmWarDeployer", "ClusterListener": "ClusterSessionListener",
}
_BY_ELEMENT = frozenset({"Engine", "Context", "CookieProcessor", "SessionIdGenerator"})
_SECRETS = frozenset({"encryptionKey"})
# Of two values of a setting the later one counts, unless it is one of these.
_WEAK = {("events", "once"), ("bind", "auto"), ("url_parameter", "")}
# Where a rule on two settings blames the one that was not given, the other one is to be decided.
_BLAMED_FOR = {"drop_time_s": "heartbeat_interval_s", "port_range": "port",
               "absolute_timeout_s": "idle_timeout_s"}
_LOCAL_MEMBER = "this node itself: the Receiver says where it listens"
_HEARTBEATS = 4 | 8


@dataclass(slots=True)
class Line:
    """Says what became of one attribute. where: file and line, empty for a default of Tomcat's."""

    fate: Fate
    where: str
    what: str
    words: str
    setting: str = ""


@dataclass(slots=True)
class Import:
    """Holds what came of an import. settings: by our names, all valid together. lines: in order."""

    settings: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


def import_application(application: Application) -> Import:
    """Work out the settings of one application and what to know about them."""
    importer = _Importer()
    importer.tree(application.cluster)
    if application.engine is not None:
        importer.element(application.engine, "Engine")
    for around in (application.engine, *application.hosts):
        for valve in around.named("Valve") if around is not None else ():
            if _component(valve) == "ClusterSingleSignOn":
                importer.tree(valve)
    for context in application.contexts:
        for child in context.children:
            if child.name in ("Manager", "CookieProcessor"):
                importer.tree(child)
            else:
                importer.note(child, Fate.NOT_NEEDED, f"<{child.name}>",
                              "about the application server, not about sessions")
    if application.web_app is not None:
        importer.web_app(application.web_app)
    # A context's own attributes overrule web.xml, in Tomcat too.
    for context in application.contexts:
        importer.element(context, "Context")
    result = importer.result
    named = {line.setting for line in result.lines}
    for default in list(missing(application, result.settings, named)):
        result.lines.append(Line(default.fate, "", default.what, default.words, default.setting))
        if default.setting:
            result.settings[default.setting] = default.value
    _drop_what_cannot_work(result)
    return result


class _Importer:
    """Collects settings and lines in ``result``, which grows in the order of what is taken."""

    def __init__(self) -> None:
        self.result = Import()

    def tree(self, element: Element) -> None:
        """Take an element, then what stands inside."""
        component = _component(element)
        if element.name == "LocalMember":
            for attribute, text in element.attributes.items():
                self._line(element, Fate.NOT_NEEDED, f'{attribute}="{text}"', _LOCAL_MEMBER)
        elif element.name == "Member" and component == "StaticMember":
            self._member(element)
        else:
            self.element(element, component)
        for child in element.children:
            self.tree(child)

    def element(self, element: Element, component: str) -> None:
        """Take the attributes of one element."""
        rows = TABLE.get(component)
        for attribute, text in element.attributes.items():
            if attribute == "channelStartOptions" and _is_mute(text):
                self._assign(element, f'{attribute}="{text}"', "multicast_address", "",
                             "no heartbeats by multicast: name `seeds`")
            elif rows is None:
                self._line(
                    element, Fate.NO_EQUIVALENT, f'{attribute}="{text}"',
                    f"{component} is no part of Tomcat's clustering; say in the application what "
                    "it did",
                )
            elif attribute not in rows:
                self._line(
                    element, Fate.NO_EQUIVALENT, f'{attribute}="{text}"',
                    f"Tomcat documents no such attribute of {component}: it may be misspelt",
                )
            else:
                self._row(element, attribute, text, rows[attribute])
        if rows is None and not element.attributes:
            self.note(element, Fate.NO_EQUIVALENT, f"<{element.name}>",
                      "no part of Tomcat's clustering")

    def web_app(self, root: Element) -> None:
        """Take web.xml, as far as it is about sessions."""
        for found in root.named("distributable"):
            self._row(found, "", "", TABLE["web-app"]["distributable"])
        for config in root.named("session-config"):
            for child in config.children:
                if child.name in TABLE["web-app"]:
                    self._row(child, "", child.text, TABLE["web-app"][child.name])
                elif child.name == "cookie-config":
                    self._cookie(child)
                else:
                    self.note(child, Fate.NO_EQUIVALENT, f"<{child.name}>",
                              "the servlet specification has no such element")

    def note(self, element: Element, fate: Fate, what: str, words: str) -> None:
        """Add a line about an element as a whole."""
        where = f"{element.file}:{element.line}"
        self.result.lines.append(Line(fate, where, what, words))

    def _cookie(self, config: Element) -> None:
        rows = TABLE["cookie-config"]
        for child in config.children:
            name, text = child.name, child.text
            if name == "attribute":
                parts = {part.name: part.text for part in child.children}
                name = f"attribute {parts.get('attribute-name', '')}"
                text = parts.get("attribute-value", "") or "true"
            if name in rows:
                self._row(child, "", text, rows[name])
            else:
                self.note(child, Fate.NO_EQUIVALENT, f"<{child.name}> {text}",
                          "this attribute of the cookie cannot be set here")

    def _member(self, member: Element) -> None:
        rows = TABLE["StaticMember"]
        given = {name: member.attributes.get(name, "") for name in ("host", "port")}
        complete = all(given.values()) and not any("${" in text for text in given.values())
        seed = f"{_bracketed(host(given['host']))}:{given['port']}"
        for attribute, text in member.attributes.items():
            if attribute not in rows:
                self._line(member, Fate.NO_EQUIVALENT, f'{attribute}="{text}"',
                           "Tomcat documents no such attribute of StaticMember")
            elif attribute not in given:
                self._row(member, attribute, text, rows[attribute])
            elif complete:
                self._line(member, Fate.MAPPED, f'{attribute}="{text}"', rows[attribute].words,
                           "seeds")
            else:
                self._line(member, Fate.TO_DECIDE, f'{attribute}="{text}"',
                           "a seed is made of host and port, both known")
        if complete:
            seeds = self.result.settings.setdefault("seeds", [])
            if seed not in seeds:
                seeds.append(seed)

    def _row(self, element: Element, attribute: str, text: str, row: Row) -> None:
        shown = "(hidden)" if attribute in _SECRETS else text
        what = f'{attribute}="{shown}"' if attribute else shown
        if row.fate is not Fate.MAPPED:
            self._line(element, row.fate, what, row.words)
        elif "${" in text:
            self._line(
                element, Fate.TO_DECIDE, what,
                f"set {row.setting} to what this property is on each host, for example by "
                f"CLUSTERSESSION_{row.setting.upper()}", row.setting,
            )
        else:
            try:
                value = row.convert(text.strip())
            except ValueError as error:
                self._line(element, Fate.TO_DECIDE, what, str(error), row.setting)
            else:
                self._assign(element, what, row.setting, value, row.words)

    def _assign(
        self, element: Element, what: str, setting: str, value: object, words: str
    ) -> None:
        settings = self.result.settings
        known = setting in settings and settings[setting] != value
        if known and (setting, value) in _WEAK:
            self._line(element, Fate.NOT_NEEDED, what, f"{setting} follows from what stands above")
            return
        if known:
            for line in self.result.lines:
                if line.setting == setting and line.fate is Fate.MAPPED:
                    line.fate, line.setting = Fate.NOT_NEEDED, ""
                    line.words = f"overruled by {element.name} {what}, {element.file}:" \
                                 f"{element.line}"
        settings[setting] = value
        self._line(element, Fate.MAPPED, what, words, setting)

    def _line(
        self, element: Element, fate: Fate, what: str, words: str, setting: str = ""
    ) -> None:
        named = f"{element.name} {what}".strip()
        where = f"{element.file}:{element.line}"
        self.result.lines.append(Line(fate, where, named, words, setting))


def _component(element: Element) -> str:
    if element.name in _BY_ELEMENT:
        return element.name
    given = element.attributes.get("className", "").strip()
    return given.rpartition(".")[2] or _CLASS_OF.get(element.name, element.name)


def _is_mute(start_options: str) -> bool:
    """Tell whether a channel neither sends nor hears heartbeats."""
    return start_options.isdigit() and not int(start_options) & _HEARTBEATS


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _drop_what_cannot_work(result: Import) -> None:
    """Take out what the rules of our settings refuse, and say why, until the rest is valid."""
    while problems := find_problems(_complete(result.settings)):
        before = len(result.settings)
        for problem in problems:
            at_fault = problem.setting
            if at_fault not in result.settings:
                at_fault = _BLAMED_FOR.get(at_fault, at_fault)
            value = _complete(result.settings)[problem.setting]
            if result.settings.pop(at_fault, None) is not None:
                _to_decide(result.lines, at_fault, describe(problem, value))
        if len(result.settings) == before:
            raise AssertionError(f"no setting to blame for {problems}")


def _to_decide(lines: Iterable[Line], setting: str, words: str) -> None:
    for line in lines:
        if line.setting == setting and line.fate is Fate.MAPPED:
            line.fate, line.words = Fate.TO_DECIDE, words


def _complete(given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {name: getattr(Settings(), name) for name in setting_names()}
    listed = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
    return {**defaults, **listed}
