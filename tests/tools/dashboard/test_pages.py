"""Whatever a name, a key or a log line holds, it stays text in every page."""

import dataclasses
import re

import pytest
from markupsafe import Markup

from clustersession.core.state import PRINCIPAL, Register, SessionState
from clustersession.operations.explaining import ENDED, Explanation
from clustersession.operations.observing import Snapshot
from clustersession.tools.dashboard import pages
from clustersession.tools.dashboard.sections import sections
from clustersession.wire.values import encode_value
from tests.tools.dashboard.hostile import HOSTILE, member, tags

CONTEXT = pages.PageContext("/", "nonce", "form-token")


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
    def all_pages(word: str) -> list[Markup]:
        return [
            pages.overview(CONTEXT, snapshot(word)),
            pages.explanation(CONTEXT, explanation(word), reveals=True, values=True),
            pages.explanation(CONTEXT, explanation(word), reveals=True),
            pages.message(CONTEXT, word, word),
            pages.overview(CONTEXT, Snapshot(0, {}, trouble=word)),
            *sections(snapshot(word)).values(),
        ]

    for page, harmless in zip(all_pages(hostile), all_pages("word"), strict=True):
        assert tags(page) == tags(harmless)
        assert "alert(1)>" not in page
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)


@pytest.mark.parametrize("value", [10**5000, [1, {"a": 10**5000}]], ids=["int", "nested"])
def test_a_number_too_long_to_be_written_and_a_time_beyond_the_calendar_are_shown(
    value: object,
) -> None:
    written = Register(0, b"node", 1, encode_value(value))
    state = SessionState(2**62, 0, 2**63 - 1, {"a": written}, {b"node": 1})
    shown = dataclasses.replace(explanation("x"), state=state)
    page = pages.explanation(CONTEXT, shown, reveals=True, values=True)
    assert "too long to be shown" in page
