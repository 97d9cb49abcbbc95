"""The moving picture of the failover: what is seen follows from what the demo printed."""

import re
import xml.etree.ElementTree as ET

import pytest

from tests.documents import ROOT
from tools.pictures import svg
from tools.pictures.failover import failover
from tools.pictures.recording import steps

PRINTED = """
[  0.0 s] 1. Two nodes and a sticky balancer start
            tomcat1 listens on 127.0.0.1:1

[  2.9 s] 3. A visitor opens the page
            tomcat2 answered; cookie CLUSTERSESSION=66WI….tomcat2

[  3.0 s] 6. The whole node of the visitor is killed
            kill -9 31040 31081: every process of tomcat2

[  3.2 s] 7. The visitor refreshes and notices nothing
            tomcat1 answered the next request; cookie CLUSTERSESSION=66WI….tomcat1

[  3.2 s] 9. The killed node comes back with every session
            tomcat1 logs: 2026-11-30 01:50:15,081 INFO clustersession.agent member added: tomcat2
            tomcat2 is back and has all 6 sessions

Every step held, in 4.7 s.
"""


def test_the_steps_know_who_serves_and_who_is_dead() -> None:
    found = [(step.serving, step.dead) for step in steps(PRINTED)]
    assert found == [
        ("", ""), ("tomcat2", ""), ("tomcat2", "tomcat2"), ("tomcat1", "tomcat2"),
        ("tomcat1", ""), ("tomcat1", ""),
    ]
    assert "            tomcat1 logs: INFO member added: tomcat2" in steps(PRINTED)[4].lines


def words(picture: str) -> list[str]:
    return [text for text in ET.fromstring(picture).itertext() if text.strip()]


def test_the_picture_shows_every_line_and_moves() -> None:
    picture = failover(steps(PRINTED))
    shown = {word.strip() for word in words(picture)}
    printed = [line.strip() for step in steps(PRINTED) for line in step.lines]
    assert set(printed) <= shown
    assert picture.count("@keyframes") == picture.count("prefers-reduced-motion:no-preference")


@pytest.mark.parametrize("name", ["demo", "top"])
def test_the_pictures_of_the_pages_need_nothing_from_elsewhere(name: str) -> None:
    picture = (ROOT / "docs" / "images" / f"{name}.svg").read_text()
    assert set(re.findall(r"https?://[^\"]+", picture)) == {"http://www.w3.org/2000/svg"}
    assert "<script" not in picture
    assert words(picture)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                        for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    "colour", [svg.TEXT, svg.DIM, svg.GREEN, svg.RED, svg.YELLOW, svg.BLUE]
)
def test_text_is_read_easily(colour: str) -> None:
    """WCAG 2.2, 1.4.6: a contrast of 7 to 1."""
    assert (luminance(colour) + 0.05) / (luminance(svg.GROUND) + 0.05) >= 7
