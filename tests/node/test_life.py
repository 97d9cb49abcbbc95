"""A node's life: how it begins, and begins again when its past is lost."""

import pytest

from clustersession.core.errors import ReplicaFull, WireError
from clustersession.core.identity import JOURNALLED_STARTS_NOTE, STARTS_NOTE, Phase
from clustersession.node import news
from clustersession.node.effects import BeginAgain, Confirmed, Dial, SealAs
from clustersession.replica.opening import open_memory
from clustersession.settings.settings import Settings
from clustersession.wire.messages import PROTOCOL_VERSION, Hello, encode_message
from tests.node.lives import WALL_MS, FakeLink, at, life_over, peer, taken

CLUSTER = Settings().cluster_name


def test_each_start_is_later_than_the_last_even_on_a_clock_that_stands_still() -> None:
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    starts = [life_over(replica).engine.context.own.start for _ in range(3)]
    assert starts == [WALL_MS, WALL_MS + 1, WALL_MS + 2]


def test_a_start_is_noted_as_one_that_keeps_a_journal_before_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica, saved = open_memory(b"a" * 8, clock_skew_ms_max=300_000), list[str]()
    save = replica.save_note
    monkeypatch.setattr(
        replica, "save_note", lambda name, value: (saved.append(name), save(name, value))
    )
    life_over(replica)
    assert saved[:2] == [JOURNALLED_STARTS_NOTE, STARTS_NOTE]


def test_datagrams_are_sealed_under_the_new_node_id_before_anything_is_sent() -> None:
    life = life_over()
    life.engine.context.emit(BeginAgain())
    told, first, *_ = taken(life)
    assert told == BeginAgain()
    assert isinstance(first, SealAs)
    assert first.node == life.engine.context.own.node == b"1" * 8


def test_a_past_lost_noticed_by_several_costs_one_node_id() -> None:
    life = life_over()
    before = life.engine
    link = FakeLink(peer())
    life.accepted(link, at())
    before.context.emit(BeginAgain())
    before.context.emit(BeginAgain())
    taken(life)
    assert life.engine.context.own.node == b"1" * 8
    assert link.done[-1] == "closed: new node id"
    assert list(life.connections) == []
    life.closed(link, at())
    assert not life.engine.context.peers


def test_who_waits_is_answered_before_the_new_life_begins() -> None:
    life = life_over()
    life.accepted(FakeLink(peer()), at())
    life.engine.confirm(7, 1, all_peers=False, deadline_s=5.0)
    life.engine.context.emit(BeginAgain())
    wanted = taken(life)
    places = {type(effect): place for place, effect in enumerate(wanted)}
    assert Confirmed(7, -1) in wanted
    assert places[Confirmed] < places[SealAs]


def test_what_a_life_has_to_tell_can_be_told_before_it_ends() -> None:
    life = life_over()
    engine = life.engine
    life.accepted(FakeLink(peer()), at())
    taken(life)
    engine.news()
    engine.context.tell(news.PastLost(peer().node))
    engine.context.emit(BeginAgain())
    for effect in life.effects(at()):
        if isinstance(effect, BeginAgain):
            assert life.engine is engine
            assert life.engine.membership.get(peer().node) is not None
            assert life.engine.news() == [news.PastLost(peer().node)]
            break
    else:
        pytest.fail("the old life ended without a word")


def test_what_the_former_life_dialled_is_nothing_to_the_new_one() -> None:
    life = life_over()
    former = life.engine
    former.context.emit(BeginAgain())
    taken(life)
    link = FakeLink(peer())
    assert not life.dialled(link, peer().address, former, at())
    assert link.done == ["aborted: new node id"]
    life.engine.dialer.heard_of(peer().address, at())
    assert Dial(peer().address) in taken(life)
    life.dial_failed(peer().address, former, True, at())
    assert life.engine.dialer.untried(), "the attempt of the new life is still under way"


def test_a_new_life_goes_on_serving_and_draining() -> None:
    life = life_over()
    life.engine.workers_changed(2, 0, at())
    life.engine.context.emit(BeginAgain())
    taken(life)
    assert life.engine.joiner.aim is Phase.DRAINING
    life.engine.workers_changed(2, 2, at())
    life.engine.context.emit(BeginAgain())
    taken(life)
    assert life.engine.context.serving
    assert life.engine.joiner.aim is Phase.READY


def test_a_new_life_knows_what_the_old_one_knew_of_the_group_and_counts_on() -> None:
    life = life_over()
    life.engine.context.multicast = False
    life.engine.receiver.applied = 3
    life.engine.context.emit(BeginAgain())
    taken(life)
    assert not life.engine.context.multicast
    life.engine.receiver.applied = 2
    assert life.applied == 5


def test_without_space_for_a_new_node_id_the_old_life_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
    life = life_over(replica)
    engine = life.engine

    def full(*_: object) -> None:
        raise ReplicaFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(replica, "renew_identity", full)
        engine.context.emit(BeginAgain())
        taken(life)
    assert life.engine is engine
    assert news.NoNewNodeId("no space") in life.engine.news()
    engine.context.emit(BeginAgain())
    taken(life)
    assert life.engine is not engine


def test_who_leaves_does_not_begin_again_and_hears_of_no_link() -> None:
    life = life_over()
    link = FakeLink(peer())
    life.accepted(link, at())
    engine = life.engine
    life.leave(at())
    engine.context.emit(BeginAgain())
    taken(life)
    life.closed(link, at())
    assert life.engine is engine
    assert engine.context.peers


def test_a_hello_of_another_cluster_is_refused() -> None:
    life = life_over()
    assert life.check_hello(life.hello()).identity == life.engine.context.own
    other = encode_message(Hello(PROTOCOL_VERSION, CLUSTER + "2", peer()))
    with pytest.raises(WireError, match="belongs to cluster"):
        life.check_hello(other)
