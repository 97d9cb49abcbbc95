"""Reads settings from keyword arguments, the environment and a TOML file; the first ones win.

A misspelt name that is silently ignored is how clusters come to run with their defaults, so every
name in all three sources is known or refused, with the nearest right name.

=========================  ====================================================================
keyword argument           ``route="tomcat1"``; durations (``..._s``) may also be a timedelta
environment variable       ``CLUSTERSESSION_ROUTE=tomcat1``; lists are separated by commas
TOML file                  ``route = "tomcat1"`` at the top level of the file
=========================  ====================================================================

A keyword argument of None is not given: ``distributable=None`` leaves it to the other sources.

The file is the one named by the keyword argument ``config`` or, without it, by
``CLUSTERSESSION_CONFIG``. No file is read by default, neither from the working directory nor from
/etc: what a node does must not depend on where it was started.

Tomcat's spellings are accepted in every source, as written there or in snake_case:

===========  ======================  ====================================================
Tomcat       ours
===========  ======================  ====================================================
address      multicast_address       of ``<Membership>``
frequency    heartbeat_interval_s    in milliseconds, as in Tomcat
dropTime     drop_time_s             in milliseconds, as in Tomcat
ttl          multicast_ttl
domain       cluster_name
autoBind     port_range              of ``<Receiver>``
jvmRoute     route
===========  ======================  ====================================================

``port`` and ``bind`` need no alias, but Tomcat has two settings named ``port``: ours is the
Receiver's (4000), the Membership's (45564) is ``multicast_port``.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, NamedTuple

from clustersession.core.errors import ConfigurationError
from clustersession.settings.guessable import why_guessable
from clustersession.settings.rules import (
    HIDDEN,
    SECRET_COMMAND,
    Problem,
    describe,
    problems_of_single_values,
)
from clustersession.settings.settings import (
    CHOICES,
    SETTING_TYPES,
    Settings,
    find_problems,
    setting_names,
)

PREFIX = "CLUSTERSESSION_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
TEST_STATE_DIR_VARIABLE = PREFIX + "TEST_STATE_DIR"
"""Is no setting: where runs of tests keep their sessions, see ``worker.run_of_tests``."""
_NO_SETTINGS = {CONFIG_VARIABLE, TEST_STATE_DIR_VARIABLE}
_FRAMEWORK = "the web framework's setting"

_OF_A_SERVICE = r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"

_DEFAULTS: dict[str, Any] = {name: getattr(Settings(), name) for name in setting_names()}
_WORDS = {"1": True, "true": True, "yes": True, "on": True,
          "0": False, "false": False, "no": False, "off": False}


class _Alias(NamedTuple):
    setting: str
    is_milliseconds: bool = False


_ALIASES: dict[str, _Alias] = {
    "address": _Alias("multicast_address"),
    "frequency": _Alias("heartbeat_interval_s", is_milliseconds=True),
    "dropTime": _Alias("drop_time_s", is_milliseconds=True),
    "ttl": _Alias("multicast_ttl"),
    "domain": _Alias("cluster_name"),
    "autoBind": _Alias("port_range"),
    "jvmRoute": _Alias("route"),
}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


_NAMES: dict[str, _Alias] = {
    **{name: _Alias(name) for name in setting_names()},
    **_ALIASES,
    **{_snake_case(name): alias for name, alias in _ALIASES.items()},
}
_VARIABLES = {PREFIX + name.upper(): alias for name, alias in _NAMES.items()}


class Said(NamedTuple):
    """Holds a value that was written under another name than ours, for errors to name it so."""

    name: str
    value: object


@dataclass(frozen=True, slots=True)
class _Given:
    """Holds a value as somebody wrote it, and the words that tell where."""

    value: object
    source: str


class _Problems(list[str]):
    """Collects the lines of the report."""

    def add(
        self, found: Iterable[Problem], values: Mapping[str, Any], origins: Mapping[str, str]
    ) -> None:
        """Describe what the rules have found in the values."""
        for problem in found:
            origin = origins.get(problem.setting, "default")
            line = describe(problem, values[problem.setting], origin)
            self.append(f"{line} ({origins[problem.other]})" if problem.other in origins else line)

    def raise_if_any(self) -> None:
        if self:
            raise ConfigurationError("\n".join(self))


def load_settings(
    framework: Mapping[str, object] | None = None, /, **keyword_arguments: object
) -> Settings:
    """Load the settings of this process, validated.

    ``framework`` holds what the web framework's own configuration says (cookie, lifetimes), by our
    names; it gives way to all three sources and replaces only our defaults. ``config`` among the
    keyword arguments is the path of a TOML file. What is ``Said`` has its own name in errors, what
    is None is not given. Raises ConfigurationError with one line for each problem in any source.
    """
    return load_with_implied(framework or {}, keyword_arguments)[0]


def load_with_implied(
    framework: Mapping[str, object], given: Mapping[str, object]
) -> tuple[Settings, frozenset[str]]:
    """Do what ``load_settings`` does; also name the settings that are as the framework says."""
    problems = _Problems()
    values, origins = _read(framework, dict(given), problems)
    complete = {**_DEFAULTS, **values}
    problems.add(find_problems(complete), complete, origins)
    problems.raise_if_any()
    implied = frozenset(n for n, origin in origins.items() if origin.startswith(_FRAMEWORK))
    return Settings(**values), implied


def check_sources(**keyword_arguments: object) -> None:
    """Refuse what is wrong already, where the web framework's configuration is still to come.

    Unknown names, and values that are wrong whatever the others are; ``load_settings`` judges the
    rest. Raises ConfigurationError with one line for each problem.
    """
    problems = _Problems()
    values, origins = _read({}, keyword_arguments, problems)
    complete = {**_DEFAULTS, **values}
    problems.add(problems_of_single_values(complete, CHOICES), complete, origins)
    problems.raise_if_any()


def _read(
    framework: Mapping[str, object], keyword_arguments: dict[str, object], problems: _Problems
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read all sources; returns the values, and where each came from."""
    environment = dict(os.environ)
    path = keyword_arguments.pop("config", None) or environment.get(CONFIG_VARIABLE) or None
    sources = (
        _from_names(framework, _FRAMEWORK, problems),
        _from_file(path, problems),
        _from_environment(environment, problems),
        _from_names(keyword_arguments, "keyword argument", problems),
    )
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for name, given in source.items():
            try:
                values[name] = _convert(name, given.value)
                origins[name] = given.source
            except ValueError as error:
                shown = "(hidden)" if name in HIDDEN else repr(given.value)
                problems.append(f"{name} is {shown} ({given.source}); {error}")
    return values, origins


def require_secret(settings: Settings, bind_address: str) -> None:
    """Refuse to cluster on an address that others can reach without a secret, or with a weak one.

    ``bind_address`` is the resolved address of the receiver. Raises ConfigurationError.
    """
    if not settings.distributable or ip_address(bind_address).is_loopback:
        return
    if why := guessable_secret(settings):
        raise ConfigurationError(
            f"distributable is True, the receiver would listen on {bind_address}, and a secret can "
            f"be guessed: {why}. Whoever guesses it, from one cookie or from what the port shows, "
            f"can read and forge every session. Make one with {SECRET_COMMAND} and give it to "
            f"every node as the framework's secret key or as {PREFIX}SECRET, or set {PREFIX}BIND "
            "to 127.0.0.1 to cluster on this host only."
        )
    if settings.secret:
        return
    raise ConfigurationError(
        f"distributable is True and the receiver would listen on {bind_address} without a secret, "
        f"so anybody on that network could read and forge sessions. Make a secret once with "
        f"{SECRET_COMMAND} and give it to every node as {PREFIX}SECRET, or set {PREFIX}BIND to "
        "127.0.0.1 to cluster on this host only."
    )


def require_secret_for_store(settings: Settings, is_local: bool) -> None:
    """Refuse a store that others reach without a secret, or with a weak one.

    ``is_local``: it is on this host. Raises ConfigurationError.
    """
    if is_local:
        return
    why = guessable_secret(settings)
    if settings.secret and not why:
        return
    found = f"a secret can be guessed: {why}" if why else "there is no secret"
    raise ConfigurationError(
        f"a store is set, and {found}. Every host needs the same: sessions are sealed by it in the "
        f"store, and ids signed. Make one with {SECRET_COMMAND} and give it to every host as the "
        f"framework's secret key or as {PREFIX}SECRET."
    )


def guessable_secret(settings: Settings) -> str:
    """Say why one of the secrets can be guessed; empty when none can: all of them are accepted."""
    return next(filter(None, map(why_guessable, settings.secret)), "")


def _from_names(
    given: Mapping[str, object], label: str, problems: _Problems
) -> dict[str, _Given]:
    named = (
        (name, f"{label} {value.name}", value.value) if isinstance(value, Said)
        else (name, f"{label} {name}", value)
        for name, value in given.items()
    )
    return _collect(named, _NAMES, problems)


def _from_environment(environment: Mapping[str, str], problems: _Problems) -> dict[str, _Given]:
    others = _of_kubernetes(environment)
    ours = (
        (name, f"environment variable {name}", value)
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and name not in _NO_SETTINGS and name not in others
    )
    return _collect(ours, _VARIABLES, problems)


def _of_kubernetes(environment: Mapping[str, str]) -> frozenset[str]:
    """Find the variables that Kubernetes sets for Services whose names begin like our prefix.

    Every pod of a namespace gets a group of them for each Service: NAME_SERVICE_HOST and
    NAME_SERVICE_PORT, and in the form of Docker's links NAME_PORT and NAME_PORT_80_TCP. NAME_PORT
    may have the name of a setting, so what it holds decides.
    """
    found: set[str] = set()
    for host in environment:
        service = host.removesuffix("_SERVICE_HOST")
        if service == host or f"{service}_SERVICE_PORT" not in environment:
            continue
        group = re.compile(re.escape(service) + _OF_A_SERVICE)
        found.update(filter(group.fullmatch, environment))
        if "://" in environment.get(f"{service}_PORT", ""):
            found.add(f"{service}_PORT")
    return frozenset(found)


def _from_file(path: object, problems: _Problems) -> dict[str, _Given]:
    if path is None:
        return {}
    if not isinstance(path, str | os.PathLike):
        problems.append(f"config is {path!r}; it must be the path of a TOML file")
        return {}
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"the configuration file {os.fspath(path)} cannot be read: {error}")
        return {}
    problems += [
        f"{os.fspath(path)} has a table [{name}]; settings stand at the top level of the file"
        for name, value in content.items() if isinstance(value, dict)
    ]
    named = (
        (name, f"{os.fspath(path)}, key {name}", value)
        for name, value in content.items() if not isinstance(value, dict)
    )
    return _collect(named, _NAMES, problems)


def _collect(
    given: Iterable[tuple[str, str, object]], known: Mapping[str, _Alias], problems: _Problems
) -> dict[str, _Given]:
    """Collect one source's values by our names; wrong names and doubles become problems."""
    collected: dict[str, _Given] = {}
    for name, source, value in given:
        alias = known.get(name)
        if alias is None:
            problems.append(f"{source} is not a setting{_suggestion(name, known)}")
        elif value is None:
            continue
        elif alias.setting in collected:
            problems.append(
                f"{alias.setting} is given twice: {collected[alias.setting].source} and {source}; "
                "keep one of them"
            )
        else:
            if alias.is_milliseconds:
                value = _from_milliseconds(value)
            collected[alias.setting] = _Given(value, source)
    return collected


def _suggestion(name: str, known: Mapping[str, _Alias]) -> str:
    # Without the prefix, in which all variables are alike.
    by_form = {known_name.removeprefix(PREFIX).lower(): known_name for known_name in known}
    near = get_close_matches(name.removeprefix(PREFIX).lower(), by_form, n=1, cutoff=0.6)
    return f"; did you mean {by_form[near[0]]}?" if near else ""


def _from_milliseconds(value: object) -> object:
    """Turn Tomcat's milliseconds into seconds; leave what is no number to the conversion."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return value / 1000


def _convert(name: str, value: object) -> object:
    """Convert a value to the setting's type. Raises ValueError with what it must be."""
    if isinstance(value, timedelta) and name.endswith("_s"):
        value = value.total_seconds()
    converted = _CONVERSIONS[SETTING_TYPES[name]](value)
    if name in CHOICES and isinstance(converted, str):
        return converted.lower()
    if name == "state_dir" and isinstance(converted, str) and converted:
        return os.path.abspath(os.path.expanduser(converted))
    return converted


def _to_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    raise ValueError(f"it must be one of {', '.join(_WORDS)}")


def _to_int(value: object) -> int:
    number = _to_float(value)
    if not number.is_integer():
        raise ValueError("it must be a whole number")
    return int(value) if isinstance(value, int) else int(number)


def _to_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("it must be a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("it must be a number") from None


def _to_text(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise ValueError("it must be a text")
    return value.strip()


def _to_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("it must be a text, or a list of texts")
    return tuple(item.strip() for item in value if item.strip())


_CONVERSIONS: dict[str, Callable[[object], object]] = {
    "bool": _to_bool, "int": _to_int, "float": _to_float, "str": _to_text, "tuple": _to_texts,
}
