"""Whether a session that is here may have ended on a peer, and how long requests wait for that."""

from clustersession.core.contact import APART, CONTACT_NOTE, MET
from clustersession.core.state import Change, Creation
from clustersession.replica.opening import open_memory
from clustersession.worker.contact import AGENT_WAIT_S, AgentContact

KEY = "1" * 23


class Stage:
    """A worker with its replica, and an agent that comes and goes."""

    def __init__(self, note: bytes | None) -> None:
        self.replica = open_memory(b"a" * 8, clock_skew_ms_max=300_000)
        self.note(note)
        self.attached = False
        self.now_s = 1000.0
        self.wall_ms = 0
        self.contact = AgentContact(
            self.replica, lambda: self.attached, lambda: self.now_s, lambda: self.wall_ms
        )

    def note(self, note: bytes | None) -> None:
        if note is not None:
            self.replica.save_note(CONTACT_NOTE, note)

    def write(self) -> None:
        creation = Creation(0, 10_000, 0)
        self.replica.commit([Change(KEY, 0, {"x": b"1"}, creation=creation)], 0)


def test_who_never_met_a_peer_does_not_wait_for_one() -> None:
    contact = Stage(None).contact
    assert not contact.apart
    assert not contact.is_apart()
    assert contact.patience_s() == 0.0


def test_until_the_agent_is_there_what_a_former_one_met_does_not_count() -> None:
    stage = Stage(MET)
    assert stage.contact.is_apart()
    assert stage.contact.patience_s() == AGENT_WAIT_S
    stage.attached = True
    assert not stage.contact.is_apart()
    assert not stage.contact.apart


def test_an_agent_that_has_not_met_its_peers_is_not_enough() -> None:
    stage = Stage(APART)
    stage.attached = True
    assert stage.contact.is_apart()
    stage.note(MET)
    assert not stage.contact.is_apart()


def test_all_requests_wait_for_the_agent_until_the_same_moment() -> None:
    stage = Stage(APART)
    stage.now_s += AGENT_WAIT_S - 1
    assert stage.contact.patience_s() == 1.0
    stage.now_s += 5
    assert stage.contact.patience_s() == 0.0


def test_who_waited_in_vain_for_a_session_that_is_here_ends_the_waiting_for_all() -> None:
    stage = Stage(APART)
    stage.contact.waited_for(KEY)
    assert stage.contact.is_apart(), "one that nobody has says nothing of the others"
    stage.write()
    stage.contact.waited_for(KEY)
    assert not stage.contact.apart


def test_an_expired_session_that_peers_do_not_have_either_ends_no_waiting() -> None:
    stage = Stage(APART)
    stage.write()
    stage.wall_ms = 10_001
    stage.contact.waited_for(KEY)
    assert stage.contact.is_apart()


def test_when_the_agent_is_lost_the_waiting_begins_again() -> None:
    stage = Stage(MET)
    stage.attached = True
    assert not stage.contact.is_apart()
    stage.attached = False
    stage.now_s += 100
    stage.contact.lost()
    assert stage.contact.is_apart()
    assert stage.contact.patience_s() == AGENT_WAIT_S


def test_an_agent_that_a_sibling_has_replaced_already_is_lost_all_the_same() -> None:
    stage = Stage(MET)
    stage.attached = True
    assert not stage.contact.is_apart()
    # The next agent was quicker than the thread that notices.
    stage.note(APART)
    stage.contact.lost()
    assert stage.contact.is_apart()


def test_an_agent_that_dies_before_it_met_anybody_lets_nobody_wait_again() -> None:
    stage = Stage(APART)
    stage.write()
    stage.contact.waited_for(KEY)
    stage.contact.lost()
    assert not stage.contact.apart
