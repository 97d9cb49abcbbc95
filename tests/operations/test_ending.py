"""Sessions are ended; with nobody to ask."""

from pathlib import Path

import pytest

from clustersession.core.state import ENDED_REVOKED
from clustersession.operations.ending import (
    EndResult,
    end_principal,
    end_session,
    end_text,
    peers_holding,
)
from clustersession.replica.home import NodeHome
from clustersession.replica.journal.reading import JournalReading
from clustersession.replica.journal.segments import JournalMark, write_mark
from clustersession.settings.settings import Settings
from tests.operations.sessions import KEYS, filled


def test_a_session_is_ended_once(tmp_path: Path) -> None:
    replica, home = filled(), NodeHome(tmp_path)
    assert end_session(replica, home, KEYS[0]) == EndResult(1, None)
    state = replica.get(KEYS[0])
    assert state is not None
    assert state.ended is not None
    assert state.ended.reason == ENDED_REVOKED
    assert end_session(replica, home, KEYS[0]) == EndResult(0, 0)


def test_all_sessions_of_a_user_are_ended_and_no_other(tmp_path: Path) -> None:
    replica, home = filled(), NodeHome(tmp_path / "shop.tomcat1")
    assert end_principal(replica, home, Settings(), "ann") == EndResult(2, None)
    states = [replica.get(key) for key in KEYS]
    assert [s is not None and s.ended is None for s in states] == [False, True, False]
    assert end_principal(replica, home, Settings(), "ann").sessions == 0


def test_without_an_agent_nobody_confirms(tmp_path: Path) -> None:
    assert peers_holding(NodeHome(tmp_path), 1) is None


@pytest.mark.parametrize(("result", "text"), [
    (EndResult(1, 1), "1 session ended; held by 1 other node"),
    (EndResult(2, 0), "2 sessions ended; held by 0 other nodes"),
    (EndResult(0, None), "0 sessions ended; the agent did not answer: other nodes hear of it when "
                         "it does"),
])
def test_what_an_end_came_to_is_one_line(result: EndResult, text: str) -> None:
    assert end_text(result) == text


def test_an_end_is_in_the_journal_where_no_agent_keeps_it(tmp_path: Path) -> None:
    """Whoever keeps it reads it from the feed in a second; the power may go before."""
    replica, home = filled(), NodeHome(tmp_path)
    write_mark(home.journal, JournalMark(replica.node, 1))
    end_session(replica, home, KEYS[0])
    end_principal(replica, home, Settings(), "ann")
    pages = JournalReading(home.journal).ends()
    ended = {key for page in pages for key, state in page if state.ended is not None}
    assert ended == {key for key in KEYS if replica.get(key).ended is not None}  # type: ignore


def test_no_journal_is_begun_for_an_end(tmp_path: Path) -> None:
    replica, home = filled(), NodeHome(tmp_path)
    end_session(replica, home, KEYS[0])
    assert not home.journal.exists()
