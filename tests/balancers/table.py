"""Every scenario with every balancer, and a table of what was seen.

    python -m tests.balancers.table
    python -m tests.balancers.table --only haproxy --only nginx --scenario hung

Ends with 1 when a cell failed.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.balancers.conftest import MakeNode
from tests.balancers.scenarios import SCENARIOS
from tests.balancers.stand import Stand, stand
from tests.support import apps, balancers
from tests.support.balancers import MakeBalancer
from tests.support.processes import StepFailed

BALANCERS: dict[str, tuple[MakeBalancer, MakeNode]] = {
    "mod_proxy": (balancers.mod_proxy_balancer, apps.fastapi_under_uvicorn),
    "mod_jk": (balancers.mod_jk, apps.flask_over_ajp),
    "haproxy": (balancers.haproxy, apps.fastapi_under_uvicorn),
    "nginx": (balancers.nginx, apps.fastapi_under_uvicorn),
}
IMPOSSIBLE = {("mod_jk", "websocket"): "none over AJP13"}


def run(balancer: str, scenarios: list[str]) -> dict[str, str]:
    """The cells of one balancer. After a failure the next scenario gets a stand of its own."""
    cells: dict[str, str] = {}
    left = list(scenarios)
    while left:
        with tempfile.TemporaryDirectory(prefix="balancers-") as directory, ExitStack() as open_now:
            # httpd's children are another user.
            Path(directory).chmod(0o755)
            try:
                place = open_now.enter_context(stand(*BALANCERS[balancer], Path(directory)))
            except StepFailed as error:
                return cells | dict.fromkeys(left, f"FAILED to start: {error}")
            while left:
                name = left.pop(0)
                cells[name] = _cell(place, balancer, name)
                if cells[name].startswith("FAILED"):
                    break
    return cells


def _cell(place: Stand, balancer: str, scenario: str) -> str:
    if (balancer, scenario) in IMPOSSIBLE:
        return IMPOSSIBLE[balancer, scenario]
    began_s = time.monotonic()
    try:
        place.settle()
        began_s = time.monotonic()
        seen = SCENARIOS[scenario](place)
    except Exception as error:
        seen = f"FAILED: {error or type(error).__name__}"
    print(f"  {scenario:14} {time.monotonic() - began_s:5.1f} s  {seen}", flush=True)
    return seen


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=list(BALANCERS), default=[])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), default=[])
    arguments = parser.parse_args()
    names = arguments.only or list(BALANCERS)
    wanted = arguments.scenario or list(SCENARIOS)
    table = {}
    for name in names:
        print(name, flush=True)
        table[name] = run(name, wanted)
    print(f"\n| scenario | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for scenario in wanted:
        cells = (table[name][scenario].splitlines()[0] for name in names)
        print(f"| {scenario.replace('_', ' ')} | {' | '.join(cells)} |")
    failed = any("FAILED" in cell for cells in table.values() for cell in cells.values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
