"""The benchmark of what is large: each row is measured while it happens, and all of it happens."""

import pytest

from benchmarks.beside import Taken
from benchmarks.large import COLUMNS, Size, measure

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def test_each_row_has_writes_beside_what_it_names() -> None:
    result = measure(Size(
        sessions=1_000, loaded=500, missed=300, expiring_s=2.0, lead_per_session_s=0.002
    ))
    (table,) = result.tables
    assert all(len(row) == len(COLUMNS) for row in table.rows)
    writes = {row[0]: row[COLUMNS.index("writes")] for row in table.rows}
    assert {name.partition(",")[0] for name in map(str, writes)} == {
        "donation", "nothing", "loading", "repair", "catching up", "expiry"
    }
    assert all(isinstance(count, int) and count > 0 for count in writes.values())
    assert len(result.targets) == 15


def test_what_nobody_confirmed_is_told() -> None:
    taken = Taken([1.0, 3.0, 2.0], [0.1, 0.3, 0.2], 1)
    assert taken.figures() == [2.0, 3.0, 3.0, 0.2, 0.3, 0.3, 1]
