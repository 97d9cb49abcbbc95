"""Who is there, by the beats in the store."""

import pytest

from clustersession.core.identity import Phase
from clustersession.core.membership import MemberAdded, MemberLeft, MemberLost
from clustersession.node.news import MessageDropped
from clustersession.node.serving import view_of
from clustersession.node.store_calls import Beat
from tests.node.stored import Stored, beat_of


def joined(**settings: object) -> Stored:
    """A node that has met b."""
    node = Stored(**settings)
    member, data = beat_of("b")
    node.store.members[member] = data, 10
    node.up()
    node.wait(0.1)
    return node


def events(node: Stored) -> list[type]:
    kinds = MemberAdded | MemberLeft | MemberLost
    return [type(told) for told in node.told if isinstance(told, kinds)]


def test_who_has_beaten_is_a_member_and_serves() -> None:
    node = joined()
    assert events(node) == [MemberAdded]
    assert view_of(node.engine.context).serving == {"b"}


def test_who_has_not_beaten_lately_is_none() -> None:
    node = Stored()
    member, data = beat_of("b")
    node.store.members[member] = data, 5000
    node.up()
    assert events(node) == []


def test_who_stops_beating_is_lost_after_the_drop_time() -> None:
    node = joined()
    member, data = beat_of("b")
    for tenths in range(50):
        node.store.members[member] = data, tenths * 100
        node.wait(0.1)
    assert events(node) == [MemberAdded, MemberLost]
    assert view_of(node.engine.context).serving == frozenset()


def test_who_says_goodbye_has_left() -> None:
    node = joined()
    member, _ = beat_of("b")
    node.store.members[member] = b"", 10
    node.wait(0.6)
    assert events(node) == [MemberAdded, MemberLeft]


def test_who_drains_serves_no_more() -> None:
    node = joined()
    member, data = beat_of("b", phase=Phase.DRAINING)
    node.store.members[member] = data, 10
    node.wait(0.6)
    assert view_of(node.engine.context).serving == frozenset()


def test_a_store_that_forgot_everybody_loses_nobody_at_once() -> None:
    node = joined()
    node.store.members.clear()
    node.wait(1.0)
    assert events(node) == [MemberAdded]


def test_while_the_store_is_away_nobody_is_judged() -> None:
    node = joined()
    node.down()
    node.wait(60.0)
    assert events(node) == [MemberAdded]
    member, data = beat_of("b")
    node.store.members[member] = data, 10
    node.up()
    node.wait(1.0)
    assert events(node) == [MemberAdded]


def test_a_word_older_than_the_last_is_none() -> None:
    node = joined()
    member, data = beat_of("b", number=2)
    node.store.members[member] = data, 10
    node.wait(0.6)
    member, data = beat_of("b", number=1, phase=Phase.DRAINING)
    node.store.members[member] = data, 10
    node.wait(0.6)
    assert view_of(node.engine.context).serving == {"b"}


def test_who_was_lost_may_come_back_with_an_older_replica() -> None:
    node = joined()
    member, data = beat_of("b", number=2)
    node.store.members[member] = data, 10
    node.wait(0.6)
    node.store.members.clear()
    node.wait(5.0)
    member, data = beat_of("b", number=1)
    node.store.members[member] = data, 10
    node.wait(0.6)
    assert events(node) == [MemberAdded, MemberLost, MemberAdded]


def test_a_word_that_cannot_be_read_is_told_and_does_no_harm() -> None:
    node = joined()
    node.store.members[b"c" * 8] = b"\xff", 10
    node.wait(0.6)
    assert any(isinstance(told, MessageDropped) for told in node.told)
    assert events(node) == [MemberAdded]


def test_who_reaches_a_store_later_than_we_after_an_outage_is_not_lost() -> None:
    node = joined()
    node.down()
    node.now_s += 6.0
    node.store.members.clear()
    node.up()
    node.wait(2.0)
    member, data = beat_of("b")
    node.store.members[member] = data, 10
    node.wait(1.0)
    assert events(node) == [MemberAdded]


def test_who_has_not_told_a_store_again_that_has_forgotten_is_not_lost() -> None:
    node = joined()
    member, data = beat_of("b")
    node.store.members[member] = data, 1400
    node.wait(1.3)
    node.store.members.clear()
    node.store.memory = b"second"
    node.wait(2.4)
    node.store.members[member] = data, 10
    node.wait(0.6)
    assert events(node) == [MemberAdded]


def test_who_does_not_come_back_after_an_outage_is_lost_after_the_drop_time() -> None:
    node = joined()
    node.down()
    node.now_s += 6.0
    node.store.members.clear()
    node.up()
    node.wait(4.0)
    assert events(node) == [MemberAdded, MemberLost]


def quiet(**settings: object) -> Stored:
    """A node that has met b, and whose store says no more than that nobody was silent."""
    node = joined(**settings)
    node.store.silence_ms = 200
    return node


def test_who_is_not_told_anew_lives_as_long_as_nobody_is_late() -> None:
    node = quiet()
    before = len(node.asked)
    node.wait(9.0)
    assert all(isinstance(beat, Beat) and beat.known for beat in node.calls(Beat, before))
    assert events(node) == [MemberAdded]
    [member] = node.engine.membership.present()
    assert 0.1 < node.now_s - member.heard_s < 1.0
    assert member.uptime_ms == pytest.approx(1000 + node.now_s * 1000, abs=600)
    assert abs(member.skew_ms) <= 100


def test_who_is_late_is_told_with_its_age_and_lost_after_the_drop_time() -> None:
    node = quiet()
    node.wait(2.0)
    member, data = beat_of("b")
    node.store.silence_ms = None
    for tenths in range(10, 50):
        node.store.members[member] = data, tenths * 100
        node.wait(0.1)
    assert events(node) == [MemberAdded, MemberLost]


def test_who_is_followed_no_more_is_not_kept_alive_by_the_others() -> None:
    node = quiet()
    member, data = beat_of("b")
    other, its_data = beat_of("c")
    node.store.members |= {member: (data, 10), other: (its_data, 10)}
    node.store.edition, node.store.gone = b"two", {member}
    node.wait(5.0)
    lost = [told.member.identity.node for told in node.told if isinstance(told, MemberLost)]
    assert lost == [member]


def test_all_is_read_again_now_and_then_and_on_each_connection() -> None:
    node = quiet()
    before = len(node.asked)
    node.wait(25.0)
    beats = node.calls(Beat, before)
    unknown = [beat for beat in beats if isinstance(beat, Beat) and not beat.known]
    assert 1 <= len(unknown) <= len(beats) / 15
    node.down()
    before = len(node.asked)
    node.up()
    first = node.calls(Beat, before)[0]
    assert isinstance(first, Beat)
    assert not first.known


def test_what_we_tell_has_a_new_number_when_we_drain() -> None:
    node = quiet()
    before = len(node.asked)
    node.wait(3.0)
    [steady] = {beat.edition for beat in node.calls(Beat, before) if isinstance(beat, Beat)}
    node.engine.drain(node.at())
    before = len(node.asked)
    node.wait(1.0)
    last = node.calls(Beat, before)[-1]
    assert isinstance(last, Beat)
    assert last.edition > steady
    assert 0 < last.late_ms < last.gone_ms / 2
