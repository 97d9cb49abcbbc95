"""Templates escape every value once, wherever it stands, and take no shortcut around that."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from clustersession.tools.dashboard import rendering
from clustersession.tools.dashboard.rendering import environment
from tests.tools.dashboard.hostile import HOSTILE, tags

TEMPLATES = sorted((Path(rendering.__file__).parent / "templates").rglob("*.html"))


def fill(template: str, **values: object) -> str:
    return environment.from_string(template).render(values)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_value_is_text_wherever_it_stands(hostile: str) -> None:
    filled = fill('<a title="{{ value }}">{{ value }}</a>', value=hostile)
    assert tags(filled) == [("a", ("title",))]
    filled.encode()


def test_markup_is_escaped_once_and_a_name_that_is_not_given_is_an_error() -> None:
    inner = Markup(fill("<b>{{ name }}</b>", name="a & b"))
    assert fill("<p>{{ inner }}</p>", inner=inner) == "<p><b>a &amp; b</b></p>"
    with pytest.raises(UndefinedError):
        fill("{{ nmae }}", name="x")
    assert fill("{{ n|number }}", n=1234567) == "1,234,567"
    assert fill("{{ c }}", c="a\x00\x1b\ud800") == "a\N{REPLACEMENT CHARACTER}" * 1 + (
        "\N{REPLACEMENT CHARACTER}?"
    )


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_goes_around_the_escaping(path: Path) -> None:
    text = path.read_text()
    # These would let a value through as markup, or put it together before control characters go.
    for shortcut in ("safe", "autoescape", "|join", "|format", "|replace", "striptags", "xmlattr"):
        assert shortcut not in text, shortcut
    # An attribute without quotes could be left with a space.
    assert "={{" not in text
