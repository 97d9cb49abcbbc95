"""Whatever a name, a key or a log line holds, it stays text."""

from html.parser import HTMLParser
from typing import Any

import pytest

from clustersession.core.state import PRINCIPAL, Register, SessionState
from clustersession.operations.explaining import ENDED, Explanation
from clustersession.operations.observing import Snapshot
from clustersession.tools.dashboard import pages
from clustersession.tools.dashboard.drawing import NODES_DRAWN_MAX, draw
from clustersession.tools.dashboard.html import Html, fill, join, text
from clustersession.tools.dashboard.sections import sections
from clustersession.wire.values import encode_value

HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onload='alert(1)",
    "</title><svg onload=alert(1)>", "{secret.__class__}", "{0}", "&lt;b&gt;", "a\x00\x1b[31m",
    "</textarea></noscript><style>*{display:none}</style>", "\ud800", "\u202egnp.exe",
)
PLACE = pages.Place("/", "nonce", "form-token")


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


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_value_is_text_wherever_it_stands(hostile: str) -> None:
    filled = fill('<a title="{value}">{value}</a>{again}', value=hostile, again=text(hostile))
    assert tags(filled) == [("a", ("title",))]
    assert tags(join([hostile, hostile], "<br>")) == [("br", ())]
    assert isinstance(filled, Html)
    filled.encode()


def test_markup_is_escaped_once_and_conversions_are_refused() -> None:
    inner = fill("<b>{name}</b>", name="a & b")
    assert fill("<p>{inner}</p>", inner=inner) == "<p><b>a &amp; b</b></p>"
    with pytest.raises(ValueError, match="converted"):
        fill("{name!r}", name="x")
    assert fill("{n:,}", n=1234567) == "1,234,567"


def member(route: str, **more: Any) -> dict[str, Any]:
    return {
        "route": route, "node": route, "address": route, "status": "alive", "phase": "ready",
        "serving": True, "since_s": 5.0, "reason": "", "carrier": "tcp", "behind_us": 0,
        "we_are_behind": 0, **more,
    }


def snapshot(word: str) -> Snapshot:
    status = {
        "cluster_name": word, "route": word, "node": word, "address": word, "phase": word,
        "agent_pid": 1, "workers": [word], "carrier": word, "multicast": word, "ack": word,
        "sessions": 1, "tombstones": 0, "feed_head": 1, "replica_bytes": 1, "serving": True,
        "members": [
            member(word, status="dead", reason=word), member(word, phase=word, behind_us=3),
            member(word + "2", carrier=word, status="suspect"),
        ],
    }
    return Snapshot(0, status, [[0, "warning", word], [1, word, word]], {word: 1}, 1)


def explanation(word: str) -> Explanation:
    state = SessionState(0, 0, 2**42, {
        word: Register(1, b"n" * 8, 1, encode_value(word)),
        f"{word}~": Register(1, b"n" * 8, 1, b"\xc1"),
        PRINCIPAL: Register(1, b"n" * 8, 1, word.encode("utf-8", "replace")),
    })
    copy = {
        "route": word, "node": word, "copy": "held", "own": True, "ended": None, "accessed_ms": 0,
        "versions": {word: 1}, "attributes": 1, "has_principal": True,
    }
    silent = {"route": word, "node": word, "copy": "silent"}
    return Explanation(ENDED, word, (word,), "f" * 32, (copy, silent), state, "key")


@pytest.mark.parametrize("hostile", [h for h in HOSTILE if h != "\ud800"])
def test_pages_of_hostile_names_have_the_tags_of_harmless_ones(hostile: str) -> None:
    def all_pages(word: str) -> list[Html]:
        return [
            pages.overview(PLACE, snapshot(word)),
            pages.explanation(PLACE, explanation(word), reveals=True, values=True),
            pages.explanation(PLACE, explanation(word), reveals=True),
            pages.message(PLACE, word, word),
            pages.overview(PLACE, Snapshot(0, {}, trouble=word)),
            *sections(snapshot(word)).values(),
        ]

    for page, harmless in zip(all_pages(hostile), all_pages("word"), strict=True):
        assert tags(page) == tags(harmless)
        assert "alert(1)>" not in page


def test_any_number_of_nodes_is_drawn_or_counted() -> None:
    own = member("tomcat1")
    for count in (0, 1, 2, 3, 7, NODES_DRAWN_MAX, 100):
        others = [member(f"node{number}") for number in range(count)]
        for upright in (True, False):
            drawn = draw(own, others, upright=upright)
            assert drawn.count('class="box"') == min(count, NODES_DRAWN_MAX) + 1
            assert (f"and {count - NODES_DRAWN_MAX} more" in drawn) is (count > NODES_DRAWN_MAX)
    assert "↑3" in draw(own, [member("a", behind_us=3)], upright=True)
    assert "↓12k" in draw(own, [member("a", we_are_behind=12_345)], upright=True)
