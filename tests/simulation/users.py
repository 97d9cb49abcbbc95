"""Users in a world: what a login and a revocation promise, and attributes that stay at home.

Judged by when things really happened, and not by the stamps that the product goes by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clustersession.core.revocation import principal_tag, revocation_in, revocation_key
from clustersession.core.state import (
    LOCAL_PREFIX,
    SessionState,
    login_time,
    principal_of,
)
from tests.simulation.ledger import Fact, Ledger, Violation

if TYPE_CHECKING:
    from tests.simulation.host import Host

LOCAL_NAME = "here"
LOCAL_MARK = LOCAL_PREFIX.encode()


@dataclass(frozen=True)
class Revocation:
    """All sessions of a user were ended, and the record of it was written."""

    principal: str
    at_s: float
    record: Fact


class Users:
    """Who logged in when, under which session, and whose sessions were revoked."""

    def __init__(self) -> None:
        self.logins: dict[str, tuple[str, float]] = {}
        self.revocations: list[Revocation] = []

    def logged_in(self, key: str, principal: str, at_s: float) -> None:
        """A session got its user."""
        self.logins[key] = (principal, at_s)

    def moved(self, old: str, new: str) -> None:
        """A session has a new id: that is no new login."""
        if old in self.logins:
            self.logins[new] = self.logins[old]

    def revoked(self, host: Host, principal: str, at_s: float) -> None:
        """``end_all`` has returned there. Raises Violation when nothing remembers it."""
        key = revocation_key(principal_tag(principal))
        facts = [
            fact for fact in host.world.ledger.facts.get(key, ())
            # Later than asked for when a node that had lost its past wrote it again meanwhile.
            if fact.store is host.replica.life and fact.at_s >= at_s
        ]
        if not facts:
            raise Violation(f"{host.name} kept no record of the revocation of {principal}")
        self.revocations.append(Revocation(principal, at_s, facts[-1]))

    def must_be_over(self, key: str, slack_s: float) -> bool:
        """Whether a revocation that has surely survived came after the login of a session."""
        if key not in self.logins:
            return False
        principal, login_s = self.logins[key]
        return any(
            login_s + slack_s < revocation.at_s and revocation.record.surely_there
            for revocation in self.revocations
            if revocation.principal == principal
        )


def may_be_revoked(ledger: Ledger, key: str) -> bool:
    """Whether the user of a session was revoked at any time: clocks may count it as before.

    By what was written: whoever asked for it need not have lived to see the answer.
    """
    return any(revocation_key(principal_tag(user)) in ledger.facts for user in ledger.users[key])


def check_served(host: Host, key: str, state: SessionState) -> None:
    """A node serves no session whose user it knows to have been revoked after the login."""
    principal = principal_of(state)
    if principal is None:
        return
    record = revocation_in(host.replica.get(revocation_key(principal_tag(principal))))
    if record is not None and login_time(state) <= record.time:
        raise Violation(f"{host.name} served {key[:6]} of {principal}, and knows of the revocation")


def check_local(host: str, own_nodes: set[bytes], key: str, state: SessionState) -> None:
    """What a store holds of local attributes was written there."""
    for name, register in state.registers.items():
        if name.startswith(LOCAL_PREFIX) and register.node not in own_nodes:
            raise Violation(f"{host} holds {name!r} of {key[:6]}, which stays on another node")
