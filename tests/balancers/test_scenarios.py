"""A selection of the table; ``make balancers`` runs every cell."""

import pytest

from tests.balancers.table import BALANCERS, run
from tests.support.processes import require_programs

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SELECTION = {
    "mod_proxy": ["query", "websocket", "parallel"],
    "mod_jk": ["sticky", "drain"],
    "haproxy": ["unknown_route", "drain"],
    "nginx": ["websocket", "fail_back"],
}


@pytest.mark.parametrize("balancer", SELECTION)
def test_balancer(balancer: str) -> None:
    require_programs({"mod_proxy": "apache2", "mod_jk": "apache2"}.get(balancer, balancer))
    assert set(SELECTION) == set(BALANCERS)
    seen = run(balancer, SELECTION[balancer])
    assert not [f"{name}: {cell}" for name, cell in seen.items() if "FAILED" in cell]
