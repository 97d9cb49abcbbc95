"""HTML from templates in which every value is escaped, unless it is HTML already."""

from collections.abc import Iterable
from html import escape
from string import Formatter


class Html(str):
    """Text that is safe to stand in a page as it is: made here, or a template of ours."""

    __slots__ = ()


class _Escaping(Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        return text(format(value, format_spec) if format_spec else value)

    def convert_field(self, value: object, conversion: str | None) -> object:
        if conversion is not None:
            raise ValueError("a converted value would lose that it is HTML")
        return value


_formatter = _Escaping()


def text(value: object) -> Html:
    """A value as it may stand between tags and in quoted attributes.

    Control characters, which browsers drop or change, are shown as a replacement.
    """
    if isinstance(value, Html):
        return value
    plain = "".join(c if c >= " " or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in
                    str(value))
    return Html(escape(plain.encode("utf-8", "replace").decode(), quote=True))


def fill(template: str, **values: object) -> Html:
    """A template with its ``{names}`` filled in, each escaped."""
    return Html(_formatter.vformat(template, (), values))


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts in a row, each escaped."""
    return Html(between.join(text(part) for part in parts))
