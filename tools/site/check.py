"""Checks a built site: every link leads somewhere, and nothing is fetched from another host.

``python -m tools.site.check DIRECTORY``; exits with 1 on a finding.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_STYLE_URL = re.compile(r"""(?:@import\s+|url\()["']?([^"')\s]+)""")
_FETCHED_BY_SCRIPT = re.compile(
    r"https?://[\w.]*(?:unpkg|jsdelivr|cdnjs|googleapis|gstatic)[\w./-]*"
)
_FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
_NO_FETCH = {"canonical", "next", "prev"}
_MADE_BY_SCRIPT = {"__skip"}


class Page(HTMLParser):
    """One page of HTML: what it fetches, where it links to, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what concerns us."""
        values = {name: value for name, value in attributes if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        fetched = values.get(_FETCHED.get(tag, ""))
        if fetched and values.get("rel") not in _NO_FETCH:
            self.fetched.append(fetched)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


def findings(site: Path) -> Iterator[str]:
    """Everything that is wrong, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    for page in pages.values():
        name = page.path.relative_to(site)
        for target in page.fetched:
            if _is_elsewhere(target):
                yield f"{name} fetches {target}"
            elif not _there(page, target).exists():
                yield f"{name} fetches {target}, which is not there"
        for target in page.links:
            if not _is_elsewhere(target) and not _leads_somewhere(page, target, pages):
                yield f"{name} links to {target}, which is not there"
    for script in sorted(site.rglob("*.js")):
        for target in _FETCHED_BY_SCRIPT.findall(script.read_text()):
            yield f"{script.relative_to(site)} fetches {target}"
    for style in sorted(site.rglob("*.css")):
        for target in _STYLE_URL.findall(style.read_text()):
            if _is_elsewhere(target) and not target.startswith("data:"):
                yield f"{style.relative_to(site)} fetches {target}"


def _leads_somewhere(page: Page, target: str, pages: dict[Path, Page]) -> bool:
    if page.path.name == "404.html":  # its links begin at the root of the server
        return True
    path, fragment = _there(page, target), unquote(urlsplit(target).fragment)
    if path.is_dir():
        path /= "index.html"
    if not fragment or fragment in _MADE_BY_SCRIPT or path not in pages:
        return path.exists()
    return fragment in pages[path].anchors


def _there(page: Page, target: str) -> Path:
    name = unquote(urlsplit(target).path)
    if page.path.name == "404.html":
        return page.path.parent / name.lstrip("/")
    return (page.path.parent / name).resolve() if name else page.path


def _is_elsewhere(target: str) -> bool:
    return bool(urlsplit(target).scheme or urlsplit(target).netloc)


def main() -> None:
    """Check the site that is named."""
    (site,) = map(Path, sys.argv[1:])
    found = [*findings(site.resolve())]
    print(*found, sep="\n", end="\n" if found else "")
    pages = len([*site.rglob("*.html")])
    if not pages:
        sys.exit(f"there is no page in {site}")
    print(f"{pages} pages, {len(found)} findings")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
