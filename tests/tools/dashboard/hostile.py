"""Names that try to be more than text, and what shows whether they succeeded."""

from html.parser import HTMLParser
from typing import Any

HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onload='alert(1)",
    "</title><svg onload=alert(1)>", "{secret.__class__}", "{0}", "&lt;b&gt;", "a\x00\x1b[31m",
    "</textarea></noscript><style>*{display:none}</style>", "\ud800", "\u202egnp.exe",
)


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attributes)))


def tags(page: str) -> list[tuple[str, tuple[str, ...]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def member(route: str, **more: Any) -> dict[str, Any]:
    return {
        "route": route, "node": route, "address": route, "status": "alive", "phase": "ready",
        "serving": True, "since_s": 5.0, "reason": "", "carrier": "tcp", "behind_us": 0,
        "we_are_behind": 0, **more,
    }
