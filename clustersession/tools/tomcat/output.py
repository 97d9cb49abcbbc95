"""Writes an import as a TOML file that explains itself, or as plain values for programs."""

import json
import re
from typing import Any

from clustersession.tools.tomcat.importing import Import, Line
from clustersession.tools.tomcat.rows import Fate

_HEADINGS = {
    Fate.TO_DECIDE: "To decide: nothing was set for these",
    Fate.NO_EQUIVALENT: "No equivalent: what to do instead",
    Fate.NOT_NEEDED: "Not needed: why",
}


def as_toml(found: Import) -> str:
    """Write each setting below the attributes it comes from, then all else as comments."""
    parts = ["# Settings of clustersession, from Tomcat's. Everything in those files stands below."]
    for setting, value in found.settings.items():
        sources = [line for line in found.lines
                   if line.setting == setting and line.fate is Fate.MAPPED]
        parts += ["", *(_comment(line) for line in sources), f"{setting} = {_value(value)}"]
    for fate, heading in _HEADINGS.items():
        lines = [line for line in found.lines if line.fate is fate]
        if lines:
            parts += ["", f"# ---- {heading}", *(_comment(line) for line in lines)]
    return "\n".join(parts)


def as_plain(found: Import) -> dict[str, Any]:
    """Return what ``as_toml`` says as plain values."""
    lines = [
        {"fate": line.fate.value, "where": line.where, "what": line.what,
         "setting": line.setting, "words": line.words}
        for line in found.lines
    ]
    return {"settings": found.settings, "lines": lines}


def _comment(line: Line) -> str:
    where = f" ({line.where})" if line.where else ""
    words = f": {line.words}" if line.words else ""
    return _printable(f"# {line.fate.value}: {line.what}{where}{words}")


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # JSON's texts, numbers and booleans are TOML's, but for the characters escaped below.
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """Escape line breaks and control characters, which end a comment or steer a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: f"\\u{ord(m[0]):04x}", text)
