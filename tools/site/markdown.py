"""Markdown as repositories show it, made into what the site's renderer takes for the same."""

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT_PAGES = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
"""Pages beside the folder of the documentation that belong to the site."""

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^ *```")
_ITEM = re.compile(r"^\d+\. ")
_BULLET = re.compile(r"^(\* |- |\d+\. )")
_FIRST = re.compile(r"^(\* |- |1\. )")


def anchor(heading: str, separator: str = "-") -> str:
    """What a heading is linked by, as repositories make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def place(path: str) -> str:
    """Where a file or folder of the repository, by its path, is in the site."""
    if path == "README.md":
        return "README.md"
    if path == "docs" or path.startswith("docs/"):
        within = path.removeprefix("docs").removeprefix("/")
        return within if posixpath.splitext(within)[1] else posixpath.join(within, "README.md")
    if path in ROOT_PAGES:
        return path
    return f"source/{path}.md"


def targets(text: str, path: str) -> Iterator[str]:
    """Paths of the repository that a page links to."""
    for line, is_code in _lines(text):
        for _, target, _ in () if is_code else _LINK.findall(line):
            name = target.partition("#")[0]
            if name and not _is_elsewhere(target):
                yield _resolved(name, path)


def for_the_site(text: str, path: str) -> str:
    """A page of the repository as the site's renderer needs it."""
    return _indented(_linked(text, path))


def _linked(text: str, path: str) -> str:
    folder = posixpath.dirname(place(path))

    def there(link: re.Match[str]) -> str:
        name, hash_sign, fragment = link[2].partition("#")
        if not name or _is_elsewhere(link[2]):
            return link[0]
        new = posixpath.relpath(place(_resolved(name, path)), folder or ".")
        return f"{link[1]}{new}{hash_sign}{fragment}{link[3]}"

    return _outside_code(text, lambda line: _LINK.sub(there, line))


def _indented(text: str) -> str:
    """Items' text by four columns, and lists after an empty line: the renderer asks for both."""
    lines: list[str] = []
    inside = False
    for line, is_code in _lines(text):
        # Within a paragraph "502. " is a number at the line's beginning and no item.
        item = (_BULLET if inside else _FIRST).match(line) and not is_code
        if item and not _is_at_an_item(lines):
            lines.append("")
        if line and not line.startswith(" "):
            inside = bool(_ITEM.match(line) and (item or inside))
        lines.append(f" {line}" if inside and line.startswith("   ") else line)
    return "\n".join(lines) + "\n"


def _is_at_an_item(lines: list[str]) -> bool:
    """Tell whether nothing stands since the last empty line, or an item."""
    for number, line in enumerate(reversed(lines)):
        if not line:
            return number == 0
        if _BULLET.match(line):
            return True
    return not lines


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    return "".join(f"{line if is_code else change(line)}\n" for line, is_code in _lines(text))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Every line, and whether it is one of a block of code, its fences included."""
    inside = False
    for line in text.splitlines():
        fence = bool(_FENCE.match(line))
        yield line, inside or fence
        inside = inside != fence


def _is_elsewhere(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


def _resolved(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def source_page(path: Path, name: str) -> str:
    """A page that shows a file of the repository, or what is in a folder."""
    if path.is_dir():
        items = sorted(item for item in path.iterdir() if not item.name.startswith(("_", ".")))
        return f"# {name}\n\n" + "".join(f"* `{item.name}`\n" for item in items)
    language = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}.get(path.suffix)
    return f"# {name}\n\n~~~~{language or 'text'}\n{path.read_text()}\n~~~~\n"
