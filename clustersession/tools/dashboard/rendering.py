"""Fills the templates: every value is escaped, unless it is markup that a template made."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def as_text(value: object) -> object:
    """Replace what browsers drop or change: control characters and halves of characters.

    Jinja calls this for each value before it escapes it; markup passes.
    """
    if isinstance(value, Markup):
        return value
    plain = "".join(
        c if c >= " " or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(value)
    )
    return plain.encode("utf-8", "replace").decode()


def number(value: int) -> str:
    """Write a whole number with a comma between thousands."""
    return f"{value:,}"


environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
    finalize=as_text, undefined=StrictUndefined, auto_reload=False, trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters["number"] = number


def render(template: str, **values: object) -> Markup:
    """Fill a template of the folder ``templates``."""
    return Markup(environment.get_template(template).render(values))
