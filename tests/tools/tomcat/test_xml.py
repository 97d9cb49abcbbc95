"""Files that are no such, or mean no good, are one clear error."""

import tomllib
from pathlib import Path

import pytest

from clustersession.tools.tomcat.xml import read_xml
from tests.tools.tomcat.conversion import FILES, run

LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE s [<!ENTITY l0 "ha">{LAUGHS}]><Server>&l9;</Server>',
    "external entity": '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><Server>&x;</Server>',
    "parameter entity": '<!DOCTYPE s [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><Server/>',
    "unknown entity": '<!DOCTYPE s SYSTEM "file:///etc/passwd"><Server a="&x;">&x;</Server>',
    "not closed": "<Server><Service>",
    "empty": "",
    "no XML": "CLUSTERSESSION_ROUTE=a",
    "too deep": "<Server>" + "<a>" * 1000,
    "too large": "<Server>" + " " * (5 * 2**20) + "</Server>",
    "too many": "<Server>" + "<a/>" * 60_000 + "</Server>",
    "encoding": '<?xml version="1.0" encoding="klingon"?><Server/>',
    "zero": "<Server>\0</Server>",
    "no cluster": "<Server><Service><Engine/></Service></Server>",
    "another file": "<html/>",
    "only web.xml": "<web-app/>",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bad_file_is_one_clear_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "server.xml"
    path.write_text(content)
    output = run(path, status=1)
    assert output.startswith("Error: ")
    assert len(output.splitlines()) == 1
    assert len(output) < 400
    assert "root:" not in output


def test_the_doctype_of_an_old_web_xml_is_passed_over(tmp_path: Path) -> None:
    web = tmp_path / "web.xml"
    web.write_text(
        '<!DOCTYPE web-app PUBLIC "-//Sun Microsystems, Inc.//DTD Web Application 2.3//EN" '
        '"http://java.sun.com/dtd/web-app_2_3.dtd"><web-app><distributable/></web-app>'
    )
    assert tomllib.loads(run(FILES / "bare.xml", web))["distributable"] is True


def test_a_text_of_many_lines_is_read_in_one_go(tmp_path: Path) -> None:
    # A text that is appended to line by line is copied as often: minutes for this one.
    path = tmp_path / "web.xml"
    path.write_text("<web-app><display-name>" + "a\n" * 2_000_000 + "b</display-name></web-app>")
    (name,) = read_xml(path).children
    assert name.text.count("a") == 2_000_000
    assert name.text.endswith("b")
