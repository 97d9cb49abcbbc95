"""What a request promises: it writes what the application changed, ends what it was told to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustersession.core.elements import element_name
from clustersession.core.expiring_values import is_expired
from clustersession.core.ids import split_cookie
from clustersession.core.state import (
    LOCAL_PREFIX,
    PRINCIPAL,
    SYSTEM_PREFIX,
    SessionState,
    access_coarseness_ms,
    idle_timeout_ms,
)
from clustersession.session.lifetimes import is_live
from clustersession.session.visit import Visit
from clustersession.wire.values import encode_value
from tests.simulation import merging
from tests.simulation.ledger import Fact, Violation
from tests.simulation.limits import LIMITED
from tests.simulation.users import LOCAL_NAME

if TYPE_CHECKING:
    from tests.simulation.host import Host


MOVES = ("rotate", "login")
"""Actions that give the session a new id."""


class Request:
    """One request, from just before its action.

    Nothing else happens until it commits, but where the user's sessions are gathered first, or the
    session is fetched again that has left meanwhile.
    """

    def __init__(self, host: Host, visit: Visit, action: str, name: str) -> None:
        self.host = host
        self.visit = visit
        self.action = action
        self.names = _names_changed(visit.session, action, name)
        self.key = visit.key
        self.seen = visit.state
        self.copy = None if self.key is None else host.replica.get(self.key)
        self.full = host.replica.disk.full
        self.node = host.replica.node
        self.facts_before = list(host.world.ledger.facts.get(self.key or "", ()))
        self.held = merging.held_in(visit.session) if action in merging.ACTIONS else {}
        self.deeds: list[merging.Deed] = []

    def acted(self) -> None:
        """The application has done its part."""
        if self.action in merging.ACTIONS:
            after = merging.held_in(self.visit.session)
            resets = self.action in merging.REMOVING
            self.deeds = merging.deeds_between(self.held, after, self.seen, resets=resets)
            self.host.world.deeds.note(self.key, self.deeds)
            self.names = {deed.attribute for deed in self.deeds}

    def judge(self, cookie: str | None, set_cookie: str | None) -> None:
        """The response goes out."""
        if self.visit.mute or self.full or self.host.replica.disk.full:
            if self.key is None:
                # The session may have begun before the disk was full.
                self.host.world.deeds.note(self.visit.key, self.deeds)
            return
        if self.host.replica.node != self.node:
            # The node began again under a new id meanwhile, and wrote its writes again.
            return
        if self.action == "revoke":
            # It may have ended this very session, which the answer does not look at.
            return
        if self.action == "read":
            self._judge_read()
        elif self.action == "end":
            self._judge_ended("has ended")
        elif self.action in MOVES and self.key not in (None, self.visit.key):
            self._judge_ended("has moved to another id")
            self._judge_moved()
            self._judge_moved_collections()
        elif self.names:
            self._judge_written()
        elif self.action == "local":
            self._judge_local()
        if self.key is not None and self.visit.key == self.key and cookie is not None:
            self._judge_route(cookie, set_cookie)

    def committed_s(self) -> float | None:
        """When what the request wrote was committed; None for nothing."""
        fact = self._written()
        return None if fact is None else fact.at_s

    def _own_writes(self, state: SessionState | None) -> int:
        return 0 if state is None else state.versions.get(self.host.replica.node, 0)

    def _judge_read(self) -> None:
        state, now_ms = self.seen, self.host.clock.wall_ms()
        if state is None or not is_live(self.copy, now_ms):
            return
        coarse_ms = max(access_coarseness_ms(idle_timeout_ms(state)), 1)
        # Not by the head: an end that once found no space may be stored in any request.
        after = self.host.replica.get(self.key or "")
        if after is None or after.ended is not None:
            return
        moved = self._own_writes(after) != self._own_writes(self.copy)
        if moved and now_ms - state.accessed_ms < coarse_ms:
            raise Violation(f"{self.host.name} recorded an access that was recorded already")
        if not moved and idle_timeout_ms(state) and now_ms - state.accessed_ms > 2 * coarse_ms:
            raise Violation(f"{self.host.name} did not record an access")

    def _judge_ended(self, what: str) -> None:
        state = None if self.key is None else self.host.replica.get(self.key)
        if state is None and self.host.world.store is not None and is_live(
            self.seen, self.host.clock.wall_ms()
        ):
            raise Violation(f"{self.key} {what}, and {self.host.name} tells nobody")
        # Expired is over as well: nothing can end it any more.
        if is_live(state, self.host.clock.wall_ms()):
            raise Violation(f"{self.key} {what} and lives on {self.host.name}")

    def _judge_moved(self) -> None:
        before, after = self.host.replica.last_copies[self.key or ""], self.visit.state
        assert after is not None
        settings, deadlines = self.host.world.settings, {before.deadline_ms}
        if self.action == "login" and PRINCIPAL not in before.registers:
            deadlines.add(before.created_ms + round(1000 * settings.effective_absolute_timeout_s))
        if after.deadline_ms != max(deadlines):
            raise Violation(f"the deadline of {self.key} moved with its id")
        fact, latest_ms = self._written(), self.host.clock.wall_ms()
        for name, register in before.registers.items():
            kept = fact.values.get(name) if fact is not None else None
            if register.value is not None and is_expired(register.value, latest_ms):
                continue
            if kept != register.value and name not in self.names and name[0] != SYSTEM_PREFIX:
                raise Violation(f"{self.key} lost {name!r} when its id changed")

    def _judge_written(self) -> None:
        fact = self._written()
        # Another request may have removed the same.
        may_be_gone = self.deeds and all(deed.only_removes for deed in self.deeds)
        if may_be_gone and self.copy != self.seen and (
            fact is None or _names_written(fact) != self.names
        ):
            return
        if fact is None:
            raise Violation(f"{self.host.name} did not store {self.names} of {self.visit.key}")
        written = _names_written(fact)
        if written != self.names:
            raise Violation(f"{self.host.name} stored {written} and not {self.names}")
        if self.visit.key is not None:
            self.host.world.deeds.answered(self.visit.key, self.deeds, fact)

    def _judge_moved_collections(self) -> None:
        """What a session takes along to its new id stands there as if it was begun so."""
        assert self.key is not None
        assert self.visit.key is not None
        before = merging.stored_in(self.host.replica.last_copies[self.key])
        assert self.visit.state is not None
        after = merging.stored_in(self.visit.state)
        if before != after:
            raise Violation(f"{self.key} had {before}, and after its id changed {after}")
        if (fact := self._written()) is not None:
            deeds = merging.deeds_between({}, after, None)
            self.host.world.deeds.answered(self.visit.key, deeds, fact)

    def _written(self) -> Fact | None:
        """What the request wrote, of what this store has added since."""
        # Not by how many there were: facts go when a node writes them again under a new id.
        before = {id(fact) for fact in self.facts_before}
        added = [
            fact for fact in self.host.world.ledger.facts.get(self.visit.key or "", [])
            if id(fact) not in before and fact.store is self.host.replica.life
        ]
        # Another request may have written first.
        own = (fact for fact in added if _names_written(fact) == self.names)
        return next(own, added[0] if added else None)

    def _judge_local(self) -> None:
        state = self.visit.state
        register = None if state is None else state.registers.get(LOCAL_PREFIX + LOCAL_NAME)
        if register is None or register.value != encode_value(self.visit.session[LOCAL_NAME], ""):
            raise Violation(f"{self.host.name} did not keep what stays there")

    def _judge_route(self, cookie: str, set_cookie: str | None) -> None:
        world = self.host.world
        serving = self.host.workers[0].port.serving_routes()
        parsed = split_cookie(cookie)
        if world.settings.rewrite != "failover" or not serving or parsed is None:
            return
        if parsed[1] in serving:
            return
        route = "" if set_cookie is None else set_cookie.split(";")[0].partition(".")[2]
        if world.owners.setdefault((self.visit.key, serving), route) != route or not route:
            raise Violation(f"{self.host.name} sends {self.key} to {route or parsed[1]!r}")


def _names_written(fact: Fact) -> set[str]:
    attributes = {name for name in fact.values if not name.startswith(SYSTEM_PREFIX)}
    return attributes | {known.attribute for name in fact.values if (known := element_name(name))}


def _names_changed(session: dict[str, Any], action: str, name: str) -> set[str]:
    """Which attributes an action is going to change."""
    match action:
        case "set" | "late":
            return {name}
        case "nested":
            return {"list"}
        case "delete":
            return {name} & session.keys()
        case "rotate" | "login":
            return {"user"}
        case "limit":
            return {LIMITED}
        case _:
            return set()
