"""What every server is put through. Each returns the figures of its cell, or raises StepFailed.

In all of them the visitors see to it that no session is lost, none is issued anew, and no counter
goes back or jumps; a request without an answer may have been carried out or not.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clustersession.tools.demo.processes import StepFailed, wait_for
from tests.servers.registry import (
    AGENT,
    COUNTER,
    EARLY,
    KILL,
    LEAKS,
    LOCAL,
    RECYCLE,
    RELOAD,
    STOP,
    Server,
)
from tests.servers.running import LINGER_S, Running
from tests.servers.visitors import Load, Visitor

REQUESTS = 500
VISITORS = 4
# Caches, pools and lazily started threads of the server, once each.
GROWTH_MAX = 8


def counter(running: Running) -> str:
    """500 requests of each of four sessions, every answer one more than the last, on all workers.

    The node has joined before the first of them where the server has a hook for it.
    """
    running.start()
    if running.server.joins:
        wait_for(lambda: list(running.node.state_dir.glob("*/agent.sock")), "the agent")
    load = _count(running)
    running.check_agent()
    return _cell(running, load)


def local(running: Running) -> str:
    """The same with ``distributable=False``: and there is no agent."""
    running.start()
    load = _count(running)
    if running.agents() or list(running.node.state_dir.rglob("agent*")):
        raise StepFailed("there is an agent without distributable")
    return _cell(running, load)


def kill(running: Running) -> str:
    """kill -9 of one worker after the other under load, the one that started the agent included."""
    running.start()
    server = running.server
    with _load(running) as load:
        load.wait_for_workers(server.workers, set())
        agent = running.check_agent()
        victims = sorted(load.workers())
        for victim in victims[:1] if server.ends_with_a_worker or server.revive else victims:
            before = load.workers()
            os.kill(victim, signal.SIGKILL)
            if server.ends_with_a_worker:
                wait_for(running.has_ended, f"{server.name} to end")
                running.start()
            elif server.revive:
                running.touch()
            load.wait_for_workers(1, before)
            load.wait_for_answers(100)
    if running.check_agent() != agent:
        raise StepFailed("the agent was replaced")
    return _cell(running, load)


def agent(running: Running) -> str:
    """kill -9 of the agent while nobody asks for anything, then under load: another one is up.

    Only a worker's thread of ours can notice, so it must run while the server waits.
    """
    running.start()
    with _load(running) as load:
        load.wait_for_workers(running.server.workers, set())
    _kill_agent(running, killed=1)
    with load.again() as load:
        _kill_agent(running, killed=2)
        load.wait_for_answers(100)
    running.check_agent(killed=2)
    return _cell(running, load)


def recycle(running: Running) -> str:
    """Every worker is replaced after 50 requests, three times over."""
    running.start()
    with _load(running) as load:
        load.wait_for_workers(3 * running.server.workers, set(), 120.0)
        load.wait_for_answers(100)
    running.check_agent()
    return _cell(running, load)


def stop(running: Running) -> str:
    """A graceful stop under load, and a start, while the visitors go on; twice."""
    running.start()
    with _load(running) as load:
        for _ in range(2):
            load.wait_for_answers(100)
            before = load.workers()
            running.stop()
            running.start()
            load.wait_for_workers(1, before)
        load.wait_for_answers(100)
    running.check_agent()
    return _cell(running, load)


def early(running: Running) -> str:
    """The server is stopped while a worker starts the agent: the agent goes too."""
    running.start()
    with _load(running):
        wait_for(running.agents, "an agent that starts")
        running.stop()
    running.check_nothing_left()
    return "nothing left"


def reload(running: Running) -> str:
    """A reload under load until every worker is another one; twice."""
    running.start()
    workers = running.server.workers
    with _load(running) as load:
        load.wait_for_workers(workers, set())
        for _ in range(2):
            before = load.workers()
            running.reload()
            wait_for(lambda old=before: not running.alive(old), "the old workers to end", 60.0)
            load.wait_for_workers(workers, before)
            load.wait_for_answers(100)
    running.check_agent()
    return _cell(running, load)


def leaks(running: Running) -> str:
    """Nothing grows while it serves; a stop under load leaves nothing once the agent has gone."""
    running.start()
    with _load(running) as load:
        load.wait_for_workers(running.server.workers, set())
        load.wait_for_answers(200)
        pids = [*load.workers(), running.check_agent()]
        before = {pid: running.size(pid) for pid in pids}
        load.wait_for_answers(REQUESTS)
        after = {pid: running.size(pid) for pid in pids}
        for pid in pids:
            if any(b - a > GROWTH_MAX for a, b in zip(before[pid], after[pid], strict=True)):
                raise StepFailed(
                    f"threads and descriptors of {pid} grew: {before[pid]}, {after[pid]}"
                )
    running.check_agent()
    with load.again() as last:
        last.wait_for_answers(20)
        running.stop()
    running.check_nothing_left()
    if "has left" not in running.agent_log():
        raise StepFailed("the agent did not leave in good order")
    threads, descriptors = (max(sizes) for sizes in zip(*after.values(), strict=True))
    return f"{_cell(running, load)}, at most {threads} threads, {descriptors} descriptors"


SCENARIOS: dict[str, Callable[[Running], str]] = {
    COUNTER: counter, LOCAL: local, KILL: kill, AGENT: agent, RECYCLE: recycle, STOP: stop,
    EARLY: early, RELOAD: reload, LEAKS: leaks,
}


def play(server: Server, scenario: str, directory: Path) -> str:
    """One cell of the table. StepFailed with the logs when something was wrong."""
    running = Running(
        server, directory, *(server.recycle if scenario == RECYCLE else ()),
        distributable=scenario != LOCAL, linger_s=1.0 if scenario in (EARLY, LEAKS) else LINGER_S,
    )
    try:
        return SCENARIOS[scenario](running)
    except StepFailed as error:
        raise StepFailed(f"{server.name}, {scenario}: {error}\n{running.tail()}") from None
    finally:
        running.end()


def _kill_agent(running: Running, *, killed: int) -> None:
    victim = running.check_agent(killed=killed - 1)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: running.agent_pid() not in (0, victim), "another agent")
    running.check_agent(killed=killed)


def _load(running: Running) -> Load:
    return Load([Visitor(running.port) for _ in range(VISITORS)])


def _count(running: Running) -> Load:
    with _load(running) as load:
        load.wait_for_answers(VISITORS * REQUESTS, 120.0)
        load.wait_for_workers(running.server.workers, set())
    if load.errors:
        raise StepFailed(f"without an answer: {dict(load.errors)}")
    return load


def _cell(running: Running, load: Load) -> str:
    said = f"{load.answers} answers of {len(load.workers())} workers"
    errors: Counter[str] = load.errors
    return said + "".join(f", {count} {kind}" for kind, count in sorted(errors.items()))
