"""Browsers: the clients of a world, with a cookie each, and what they may expect."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from clustersession.core.clock import wall_ms_of
from clustersession.core.errors import ReplicaFull
from clustersession.core.ids import split_cookie
from clustersession.core.state import (
    ENDED_ROTATED,
    PRINCIPAL,
    SYSTEM_PREFIX,
    SessionState,
    access_coarseness_ms,
    idle_timeout_ms,
)
from clustersession.session.lifetimes import ROTATION_GRACE_MS, is_live
from clustersession.session.outcome import Outcome
from clustersession.session.session import Session
from clustersession.session.visit import Visit
from tests.simulation import limits, merging
from tests.simulation.causal import check_current, check_forged
from tests.simulation.ledger import Violation
from tests.simulation.neighbours import at_peace, could_tell, know_the_end
from tests.simulation.promises import MOVES, Request
from tests.simulation.timeline import WALL_START_MS
from tests.simulation.users import LOCAL_NAME, check_served, may_be_revoked
from tests.simulation.worker import Sleep, Task, Worker

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World


DOWNLOAD = "download"
STAY_S = 0.5
TINY_S = 1e-6


@dataclass
class Browser:
    """One client. ``retired`` are cookies whose session it has ended or rotated away.

    ``seen`` is its second cookie, where there is one.
    """

    name: str
    cookie: str | None = None
    seen: str = ""
    retired: list[str] = field(default_factory=list)


class Visits:
    """Sends the requests of all browsers and checks what they get."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._written = 0
        self._tasks: list[Task] = []

    def send(
        self, browser: Browser, host: Host, worker: int, action: str, name: str, think_s: float
    ) -> None:
        """Begin a request, if anybody answers."""
        if not host.awake:
            return
        process = host.workers[worker % len(host.workers)]
        if not process.alive:
            return
        cookie = browser.cookie
        if action == "late" and browser.retired:
            # Sent before the answer that set the newer cookie had arrived.
            cookie = browser.retired[-1]
        request = self._request(process, cookie, browser.seen, action, name, think_s)

        def done(result: tuple[Outcome, str]) -> None:
            (set_cookie, _, set_seen, *_), line = result
            self._world.say(f"{browser.name} at {host.name}: {action} {line}")
            if action in ("end", *MOVES) and cookie is not None:
                browser.retired.append(cookie)
            if set_cookie is not None:
                value = set_cookie.split(";")[0].partition("=")[2]
                self._check_route(value)
                browser.cookie = value or None
            if set_seen is not None:
                browser.seen = set_seen.split(";")[0].partition("=")[2]

        self._tasks = [task for task in self._tasks if task.hangs]
        self._tasks.append(process.start(request, done))

    @property
    def hanging(self) -> int:
        """How many requests of living workers have not been answered."""
        return sum(task.hangs for task in self._tasks)

    async def _request(
        self, worker: Worker, cookie: str | None, seen: str, action: str, name: str, think_s: float
    ) -> tuple[Outcome, str]:
        manager = worker.manager
        check_forged(worker, cookie, seen)
        visit = manager.open([cookie] if cookie else [], None, [seen] if seen else [])
        manager.open_visits.add(visit)
        world, host = self._world, worker.host
        disturbances = world.disturbances if at_peace(world) else -1
        key = self._key_of(cookie)
        begun_at, over = world.disturbances, bool(key) and know_the_end(host, key)
        # What is on its way to the store when that is asked is not there yet.
        could_before = world.store is None or could_tell(host, key)
        if visit.missing:
            await manager.fetch_async(visit)
        found = visit.state is not None
        if found and disturbances == world.disturbances and at_peace(world):
            check_current(worker, visit)
        world.marks["end learned by coming back"] += over and not found
        if over and found and begun_at == world.disturbances:
            raise Violation(f"{host.name} came back and served {key[:6]}, which all others ended")
        if cookie is not None:
            self.judge(host, key, visit)
            limits.judge_visible(worker, key, visit)
            undisturbed = disturbances == world.disturbances and at_peace(world)
            # Clocks apart by more than the coarseness may well disagree on an expiry.
            idle_s, slack_s = self._timing()
            undisturbed &= not idle_s or slack_s < access_coarseness_ms(idle_s * 1000) / 1000
            # One whose disk was full may know of an end that it could not store.
            undisturbed &= not host.was_full
            if not found and undisturbed and could_before and could_tell(host, key):
                raise Violation(f"{host.name} does not know {key[:6]}, and could have asked")
        outdated = cookie is not None and not found and _was_just_replaced(host, key)
        if action != DOWNLOAD:
            await self._stay(worker, visit, think_s)
        promises = Request(worker.host, visit, action, name)
        self._act(cast(Session, visit.session), action, name)
        promises.acted()
        if action == "swap":
            await limits.swap(host, visit, self._written)
        if action == "revoke":
            await self._revoke(worker, name)
        # The commit begins now, and to revoke may have taken long: the host may have been paused.
        used_s = self._world.timeline.now_s
        outcome = await manager.commit_async(visit)
        self._judge_cookie(host, outcome.set_cookie, outdated and action not in MOVES)
        self._note_user(promises, action, name, used_s)
        promises.judge(cookie, outcome.set_cookie)
        recorded = visit.state is not None and not visit.discarded
        if visit.key is not None and recorded and not worker.host.replica.disk.full:
            self._accessed(worker.host, visit.key, used_s)
        self._world.marks["failover rewrote a route"] += manager.counters.failovers > 0
        if action == DOWNLOAD:
            worker.start(self._download(worker, visit, think_s), lambda _: None)
        else:
            if visit.key is not None:
                # The host may have been paused: the end of the request is a use as well.
                self._world.ledger.opened_s[visit.key] = self._world.timeline.now_s
            manager.close(visit)
        return outcome, "known" if found else "unknown"

    # ---- requests that take their time -----------------------------------------------------------

    async def _download(self, worker: Worker, visit: Visit, seconds: float) -> None:
        """The answer has begun, and takes so long; its end is a use of the session."""
        await self._stay(worker, visit, seconds)
        host, key = worker.host, visit.key
        worker.manager.close(visit)
        state, now_ms = None if key is None else host.replica.get(key), host.clock.wall_ms()
        if key is None or state is None or not is_live(state, now_ms) or visit.discarded:
            return
        if now_ms - state.accessed_ms < max(access_coarseness_ms(idle_timeout_ms(state)), 1):
            self._accessed(host, key, self._world.timeline.now_s)
        elif not host.replica.disk.full and idle_timeout_ms(state):
            raise Violation(f"{host.name} did not record the end of a request of {key[:6]}")

    async def _stay(self, worker: Worker, visit: Visit, seconds: float) -> None:
        """Time passes while the request is open."""
        world, until_s = self._world, self._world.timeline.now_s + seconds
        disturbances = world.disturbances if at_peace(world) else -1
        known = visit.state is not None
        while (left_s := until_s - world.timeline.now_s) > TINY_S:
            await Sleep(worker, min(left_s, STAY_S))
            if visit.key is None or not known:
                continue
            # It may count as used for as long as the request is open.
            world.ledger.opened_s[visit.key] = world.timeline.now_s
            # What has just been written may not be everywhere, and what is lost comes later.
            told = seconds > STAY_S and not world.plan.loss
            if told and disturbances == world.disturbances and at_peace(world):
                self._judge_open(worker.host, visit.key, cast(SessionState, visit.state))

    def _judge_open(self, host: Host, key: str, state: SessionState) -> None:
        """An open request's session lives on every node, if nobody ends it."""
        world = self._world
        idle_s, slack_s = self._timing()
        left_s = (state.deadline_ms - host.clock.wall_ms()) / 1000
        if (
            any(fact.end for fact in world.ledger.facts[key])
            or may_be_revoked(world.ledger, key)
            or any(other.was_full for other in world.hosts)
            or left_s < slack_s
            or (idle_s and slack_s >= access_coarseness_ms(idle_s * 1000) / 1000)
        ):
            return
        for other in world.hosts:
            if world.store is not None and other.replica.get(key) is None:
                continue
            if not is_live(other.replica.get(key), other.clock.wall_ms()):
                raise Violation(
                    f"{key[:6]} is over on {other.name} while a request is open on {host.name}"
                )
        world.marks["session of an open request lives everywhere"] += 1

    def _act(self, session: Session, action: str, name: str) -> None:
        self._written += 1
        match action:
            case "set" | "late":
                session[name] = self._written
            case "nested":
                session.setdefault("list", []).append(self._written)
            case "delete":
                session.pop(name, None)
            case "rotate":
                session["user"] = self._written
                session.rotate()
            case "login":
                session["user"] = self._written
                session.rotate()
                session.principal = name
            case "local":
                session[LOCAL_NAME] = self._written
            case "end":
                session.invalidate()
            case "limit":
                limits.limit(session, name, self._written)
            case _ if action in merging.ACTIONS:
                merging.act(session, action, name, self._written)
            case _:
                dict(session)

    async def _revoke(self, worker: Worker, principal: str) -> None:
        host, at_s = worker.host, self._world.timeline.now_s
        with suppress(ReplicaFull):
            await worker.manager.sessions().aend_all(principal)
            self._world.users.revoked(host, principal, at_s)
            self._world.marks["user revoked"] += 1

    def _note_user(self, request: Request, action: str, name: str, at_s: float) -> None:
        before, after = request.key, request.visit.key
        if after is None or after == before:
            return
        users = self._world.users
        if before is not None and action in MOVES:
            users.moved(before, after)
        if action == "login" and users.logins.get(after, ("", 0.0))[0] != name:
            # The same user again is no new login. It may have waited for the user's other sessions.
            users.logged_in(after, name, request.committed_s() or at_s)

    # ---- what a browser may expect ---------------------------------------------------------------

    def _key_of(self, cookie: str | None) -> str:
        parsed = split_cookie(cookie) if cookie is not None else None
        key = self._world.signer.key_of(parsed[0]) if parsed is not None else None
        if key is None and cookie is not None:
            raise Violation(f"a cookie that we set is not authentic: {cookie}")
        return key or ""

    def judge(self, host: Host, key: str, visit: Visit) -> None:
        """Whether a session may be known, or unknown, here and now."""
        if visit.state is None:
            self._judge_unknown(host, key)
        else:
            self._judge_known(host, key, visit)
            # For the node it counts when the request ends; it is certain to have been no later.
            self._world.ledger.opened_s[key] = self._world.timeline.now_s

    def _judge_cookie(self, host: Host, set_cookie: str | None, outdated: bool) -> None:
        """No answer names an id that has ended, or takes the place of one that names a new id."""
        self._world.marks["outdated id served empty"] += outdated
        if set_cookie is None:
            return
        if outdated:
            raise Violation(f"{host.name} answers an outdated id with {set_cookie[:24]}")
        parsed = split_cookie(set_cookie.split(";")[0].partition("=")[2])
        key = self._world.signer.key_of(parsed[0]) if parsed is not None else None
        state = host.replica.get(key) if key is not None else None
        if key is not None and state is not None and state.ended is not None:
            raise Violation(f"{host.name} sets the cookie of {key[:6]}, which has ended there")

    def _judge_known(self, host: Host, key: str, visit: Visit) -> None:
        world, ledger = self._world, self._world.ledger
        state = visit.state
        assert state is not None
        if state.ended is not None or key in host.replica.life.ended:
            raise Violation(f"{host.name} served {key[:6]}, which has ended there")
        check_served(host, key, state)
        for fact in ledger.facts[key]:
            everywhere = fact.holders >= len(world.hosts) and world.store is None
            if fact.end and everywhere and not ledger.ever_lost:
                raise Violation(f"{host.name} served {key[:6]}, which all know to have ended")
        idle_s, slack_s = self._timing()
        latest_ms = WALL_START_MS + 1000 * (world.timeline.now_s + slack_s)
        for name, register in state.registers.items():
            if not limits.was_written(ledger, key, name, register, latest_ms):
                raise Violation(f"{key[:6]}[{name!r}] holds what nobody wrote")
        last_s = max(ledger.access_s[key], ledger.opened_s.get(key, 0.0))
        since_access_s = world.timeline.now_s - last_s
        latest_s = idle_s + 2 * access_coarseness_ms(idle_s * 1000) / 1000 + slack_s
        if idle_s and since_access_s > latest_s:
            raise Violation(f"{host.name} served {key[:6]} {since_access_s:.1f} s after its use")
        age_s = host.clock.wall_ms() / 1000 - state.created_ms / 1000
        if PRINCIPAL not in state.registers and (
            age_s > world.settings.effective_anonymous_absolute_timeout_s + slack_s
        ):
            raise Violation(f"{host.name} served {key[:6]}, nobody's, at the age of {age_s:.1f} s")
        age_s = world.timeline.now_s - ledger.created_s[key]
        if age_s > world.settings.effective_absolute_timeout_s + slack_s:
            raise Violation(f"{host.name} served {key[:6]} at the age of {age_s:.1f} s")

    def _judge_unknown(self, host: Host, key: str) -> None:
        world, ledger = self._world, self._world.ledger
        last_s = host.replica.life.last_access_s.get(key)
        if last_s is None or host.was_full or any(fact.end for fact in ledger.facts[key]):
            return
        if may_be_revoked(ledger, key):
            return
        idle_s, slack_s = self._timing()
        now_s = world.timeline.now_s
        # Of what it was told, only a login makes it live longer.
        if now_s - ledger.created_s[key] >= (
            world.settings.effective_anonymous_absolute_timeout_s - slack_s
        ):
            return
        if not idle_s or now_s - last_s < idle_s - slack_s:
            raise Violation(
                f"{host.name} does not know {key[:6]}, last used there {now_s - last_s:.1f} s ago"
            )

    def _timing(self) -> tuple[int, float]:
        world = self._world
        skew_ms = max(world.skew_ms_seen, *(abs(h.clock.offset_ms()) for h in world.hosts))
        return int(world.settings.idle_timeout_s), 2 * skew_ms / 1000 + 0.1

    def _accessed(self, host: Host, key: str, at_s: float) -> None:
        known = [self._world.ledger.access_s]
        if host.world.store is None or host.replica.get(key) is not None:
            # What has left before its request was answered is the store's to know.
            known.append(host.replica.life.last_access_s)
        for known_s in known:
            known_s[key] = max(known_s.get(key, 0.0), at_s)

    def _check_route(self, value: str) -> None:
        if value and value.partition(".")[2] not in self._world.network.stations:
            raise Violation(f"a cookie names a node that does not exist: {value}")


def _was_just_replaced(host: Host, key: str) -> bool:
    """Whether a node knows that a session has a new id since a moment ago."""
    state = host.replica.get(key)
    if state is None or state.ended is None or state.ended.reason != ENDED_ROTATED:
        return False
    ended_ms = wall_ms_of(state.ended.time)
    return abs(host.clock.wall_ms() - ended_ms) <= ROTATION_GRACE_MS


def is_system(name: str) -> bool:
    """Whether a register is ours and not the application's."""
    return name.startswith(SYSTEM_PREFIX)
