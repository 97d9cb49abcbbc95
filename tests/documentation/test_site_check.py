"""What the check of a built site finds."""

from pathlib import Path

import pytest

from tools.site.check import findings

GOOD = '<link rel="stylesheet" href="s.css"><h1 id="top">x</h1><a href="b.html#end">b</a>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "a.html").write_text(GOOD)
    (tmp_path / "b.html").write_text('<p id="end"></p><a href="a.html#top">a</a><a href="#end">')
    (tmp_path / "s.css").write_text("p { background: url(data:image/png;base64,AA) }")
    return tmp_path


def test_a_whole_site_has_no_findings(site: Path) -> None:
    assert [*findings(site)] == []


@pytest.mark.parametrize(("html", "said"), [
    ('<a href="c.html">', "links to c.html"), ('<a href="b.html#gone">', "links to b.html#gone"),
    ('<a href="#gone">', "links to #gone"), ('<img src="no.png">', "fetches no.png"),
    ('<script src="https://unpkg.com/x.js"></script>', "fetches https://unpkg.com/x.js"),
    ('<link rel="stylesheet" href="//fonts.example/f">', "fetches //fonts.example/f"),
])
def test_what_is_missing_or_elsewhere_is_found(site: Path, html: str, said: str) -> None:
    (site / "a.html").write_text(GOOD + html)
    (found,) = findings(site)
    assert said in found


def test_styles_and_scripts_are_read(site: Path) -> None:
    (site / "s.css").write_text("@import 'https://fonts.example/css';")
    (site / "x.js").write_text('load("https://unpkg.com/mermaid")')
    script, style = findings(site)
    assert "unpkg.com/mermaid" in script
    assert "fonts.example/css" in style
