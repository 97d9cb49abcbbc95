"""Judges a history against what the nodes hold once everything has healed. Pure.

* What was acknowledged is there, on every node; what may have been done may be there.
* An id that was ended, by logout or by rotation, works nowhere, whoever wrote under it later.
* No value that nobody wrote, and no session that shows another's owner.
* All nodes say the same.
* While a store is away, or a node has just started, a session may be unknown, but not to a node
  that has acknowledged something under the same id: it holds that.

Two things are counted and not judged. A response that lacked what was acknowledged before
(``stale``): reads are not ordered across nodes unless the application asks for it. And the counter
of a session with an unknown outcome: what is done late wins over what was done before.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import GHOST, MAY_BE_DONE, Operation, Outcome

Reads = Mapping[str, Mapping[str, dict[str, Any] | None]]
"""Per node and id what the node says of it, None for "there is no such session"."""


@dataclass(slots=True)
class Verdict:
    """What was found; the lists name every single case. guests: unknown where that may be."""

    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    unstored: int = 0
    stale: int = 0
    guests: int = 0
    worst_latency_s: float = 0.0
    lost: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Life:
    """One session as its history tells it. holders: who has acknowledged under its current id."""

    owner: str
    current: str = ""
    certain: bool = True
    holders: set[str] = field(default_factory=set)
    ended: list[str] = field(default_factory=list)
    written: list[Operation] = field(default_factory=list)
    possible: set[str] = field(default_factory=set)
    users: list[Operation] = field(default_factory=list)
    count: Operation | None = None
    counts_unknown: int = 0
    counts_tried: int = 0

    @property
    def acknowledged(self) -> int:
        """How many writes it must hold."""
        return 1 + len(self.written) + len(self.users) + (self.count is not None)


def nowhere_unknown(operation: Operation) -> bool:
    """No session may be unknown."""
    return False


def judge(
    history: Sequence[Operation], reads: Reads,
    may_be_unknown: Callable[[Operation], bool] = nowhere_unknown,
) -> Verdict:
    """The verdict. ``reads`` names every id that ``ids_of`` finds in the history.

    may_be_unknown: whether the node that was asked may have been unable to reach who has a session.
    """
    verdict = Verdict()
    _count(history, verdict)
    for life in lives(history, verdict, may_be_unknown):
        for node, found in sorted(reads.items()):
            for identifier in life.ended:
                if found[identifier] is not None:
                    verdict.resurrected.append(f"{life.owner}: {identifier[:8]} on {node}")
            if life.current:
                _judge_one(life, found[life.current], node, verdict)
        if life.current:
            _compare(life, reads, verdict)
    return verdict


def ids_of(history: Iterable[Operation]) -> list[str]:
    """Every id a client was ever given or has used."""
    return sorted({i for o in history for i in (o.sent_id, o.new_id) if i})


def lives(
    history: Iterable[Operation], verdict: Verdict,
    may_be_unknown: Callable[[Operation], bool] = nowhere_unknown,
) -> list[Life]:
    """The sessions that were acknowledged. Notes in the verdict what responses gave away."""
    found: dict[str, Life] = {}
    for operation in history:
        if operation.kind == GHOST:
            continue
        life = found.setdefault(operation.owner, Life(operation.owner))
        _follow(life, operation)
        _look_at_missing(life, operation, verdict, may_be_unknown)
        _look_at_response(life, operation, verdict)
    return [life for life in found.values() if life.current or life.ended]


def _count(history: Iterable[Operation], verdict: Verdict) -> None:
    for operation in history:
        match operation.outcome:
            case _ if operation.kind == GHOST and operation.outcome is not Outcome.ERROR:
                pass
            case Outcome.ACKNOWLEDGED:
                verdict.acknowledged += 1
                verdict.worst_latency_s = max(verdict.worst_latency_s, operation.took_s)
            case Outcome.UNKNOWN:
                verdict.unknown += 1
            case Outcome.REFUSED:
                verdict.refused += 1
            case Outcome.UNSTORED:
                verdict.unstored += 1
            case Outcome.ERROR:
                verdict.errors.append(f"{operation.kind} on {operation.node}: {operation.status}")


def _follow(life: Life, operation: Operation) -> None:
    done = operation.outcome is Outcome.ACKNOWLEDGED
    if operation.outcome not in MAY_BE_DONE:
        return
    if done:
        before = life.holders if operation.kind in ("add", "count") else set()
        life.holders = {*before, operation.node}
    match operation.kind:
        case "create" if done:
            life.current = operation.new_id
        case "add":
            life.possible.add(operation.value)
            if done:
                life.written.append(operation)
        case "count":
            life.counts_tried += 1
            life.counts_unknown += not done
            if done:
                life.count = operation
        case "login" if done:
            life.ended.append(life.current)
            life.current = operation.new_id
            life.users.append(operation)
        case "logout" if done:
            life.ended.append(life.current)
            life.current = ""
        case "login" | "logout":
            life.certain = False


def _look_at_missing(
    life: Life, operation: Operation, verdict: Verdict, may_be_unknown: Callable[[Operation], bool]
) -> None:
    if operation.outcome is not Outcome.MISSING or not life.current or not life.certain:
        return
    if operation.node not in life.holders and may_be_unknown(operation):
        verdict.guests += 1
        return
    held = "held it, " if operation.node in life.holders else ""
    verdict.vanished.append(f"{life.owner}: {operation.kind} on {operation.node}, {held}"
                            f"at {operation.began_s:.3f}")


def _look_at_response(life: Life, operation: Operation, verdict: Verdict) -> None:
    where = f"{life.owner}: {operation.kind} on {operation.node}"
    data = operation.data
    if operation.outcome is not Outcome.ACKNOWLEDGED or data is None:
        return
    if data.get("owner") != life.owner:
        verdict.swapped.append(f"{where} showed {data.get('owner')}")
    values = set(data["values"])
    verdict.invented += [f"{where}: {value}" for value in values - life.possible]
    verdict.stale += any(o.value not in values for o in life.written)


def _judge_one(life: Life, data: dict[str, Any] | None, node: str, verdict: Verdict) -> None:
    if data is None:
        if life.certain:
            verdict.lost += [f"{life.owner}: the session, on {node}"] * life.acknowledged
        return
    where = f"{life.owner} on {node}"
    if data.get("owner") != life.owner:
        verdict.swapped.append(f"{where} shows {data.get('owner')}")
    values = set(data["values"])
    verdict.lost += [
        f"{where}: {o.value}, acknowledged by {o.node}"
        for o in life.written
        if o.value not in values
    ]
    verdict.invented += [f"{where}: {value}" for value in sorted(values - life.possible)]
    if life.users and data.get("user") != life.users[-1].value:
        verdict.lost.append(f"{where}: user {life.users[-1].value}")
    _judge_count(life, data.get("count", 0), where, verdict)


def _judge_count(life: Life, count: int, where: str, verdict: Verdict) -> None:
    if count > life.counts_tried:
        verdict.invented.append(f"{where}: count {count} after {life.counts_tried} attempts")
    if life.count is None or life.counts_unknown or life.count.data is None:
        return
    told = life.count.data["count"]
    if count != told:
        verdict.lost.append(f"{where}: count {count}, {life.count.node} acknowledged {told}")


def _compare(life: Life, reads: Reads, verdict: Verdict) -> None:
    answers = [found[life.current] for _, found in sorted(reads.items())]
    if any(answer != answers[0] for answer in answers):
        verdict.disagreements.append(f"{life.owner}: {life.current[:8]}")
