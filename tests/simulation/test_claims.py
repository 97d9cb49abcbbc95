"""What is checked of the versions of copies."""

from dataclasses import replace

import pytest

from clustersession.core.state import Register, SessionState
from tests.simulation.claims import check_versions
from tests.simulation.ledger import Fact, Ledger, Store, Violation

NODE = b"node...."
LACKS_IT = SessionState(0, 0, 9, {}, {NODE: 4})
HAS_IT = replace(LACKS_IT, registers={"color": Register(7, NODE, 3, b"red")})


def ledger_with(*, evicted: bool, safe: bool, elsewhere: tuple[SessionState, ...]) -> Ledger:
    ledger = Ledger()
    ledger.add(Fact("key", (7, NODE), 3, Store("a", 1), 0.0, {"color": b"red"}))
    [fact] = ledger.facts["key"]
    fact.evicted, fact.safe = evicted, safe
    ledger.copies_of = lambda key: elsewhere
    return ledger


def test_a_copy_that_claims_a_write_and_lacks_it_is_found() -> None:
    check_versions(ledger_with(evicted=False, safe=True, elsewhere=()), "a", "key", HAS_IT)
    with pytest.raises(Violation, match="lacks Fact"):
        check_versions(ledger_with(evicted=False, safe=False, elsewhere=()), "a", "key", LACKS_IT)
    with pytest.raises(Violation, match="lacks Fact"):
        check_versions(ledger_with(evicted=True, safe=True, elsewhere=()), "a", "key", LACKS_IT)


def test_what_left_for_a_store_that_lost_it_is_lacked_by_no_copy_unless_somebody_has_it() -> None:
    nowhere = ledger_with(evicted=True, safe=False, elsewhere=(LACKS_IT,))
    check_versions(nowhere, "a", "key", LACKS_IT)
    somewhere = ledger_with(evicted=True, safe=False, elsewhere=(LACKS_IT, HAS_IT))
    with pytest.raises(Violation, match="lacks Fact"):
        check_versions(somewhere, "a", "key", LACKS_IT)


def test_what_expired_where_it_was_written_is_lacked_by_no_copy_unless_somebody_has_it() -> None:
    nowhere = ledger_with(evicted=False, safe=True, elsewhere=(LACKS_IT,))
    [fact] = nowhere.facts["key"]
    fact.expired = True
    check_versions(nowhere, "a", "key", LACKS_IT)
    nowhere.copies_of = lambda key: (HAS_IT,)
    with pytest.raises(Violation, match="lacks Fact"):
        check_versions(nowhere, "a", "key", LACKS_IT)
