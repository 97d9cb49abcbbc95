"""Sends two requests for one session at one time, and reads what is left of both."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from benchmarks.http import ask, server
from benchmarks.nodes import wait_until
from benchmarks.store_http import command
from clustersession.tools.demo.processes import free_port

ARRIVAL_S = 2.0
"""How long a change may take to be seen on the other host."""


@contextmanager
def served(framework: str, environments: Sequence[Mapping[str, str]]) -> Iterator[list[int]]:
    """Ports of servers with one worker each, one for each environment."""
    with ExitStack() as stack:
        ports = []
        for environment in environments:
            ports.append(free_port())
            run_it = command(framework, ports[-1], 1)
            stack.enter_context(server(run_it, ports[-1], environment))
        yield ports


def ask_at_once(ports: Sequence[int], paths: Sequence[str], cookies: Sequence[str]) -> None:
    """For each session two requests, each to a server of its own or both to one."""
    with ThreadPoolExecutor(2) as pool:
        for cookie in cookies:
            both = [
                pool.submit(ask, port, path, cookie)
                for port, path in zip(ports, paths, strict=True)
            ]
            for each in both:
                each.result()


def left_over(
    port: int, path: str, cookies: Sequence[str], whole: str, arrival_s: float = ARRIVAL_S
) -> list[str]:
    """What a server says of the sessions that are not whole, when all had the time to arrive."""
    left = list(cookies)

    def all_there() -> bool:
        left[:] = [cookie for cookie in left if ask(port, path, cookie)[1] != whole]
        return not left

    try:
        wait_until(all_there, "updates", arrival_s)
    except SystemExit:
        pass
    return [ask(port, path, cookie)[1] for cookie in left]
