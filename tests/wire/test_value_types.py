"""Every type of the list is a value that comes back."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from clustersession.wire.value_types import BUILT_IN
from clustersession.wire.values import decode_value, encode_value

EXAMPLES = (
    None, True, 2**70, 0.5, "text", b"bytes", datetime(2026, 1, 2, 3, tzinfo=UTC), date(2026, 1, 2),
    time(1, 2, 3), timedelta(days=1, microseconds=5), Decimal("1.20"), UUID(int=7),
    [1], (1, "a"), {"a": 1}, {1, 2}, frozenset({3}),
)  # fmt: skip


def test_every_type_of_the_list_comes_back_as_itself() -> None:
    kept = BUILT_IN - {bytearray, memoryview, object}
    assert {type(value) for value in EXAMPLES} == kept
    for value in EXAMPLES:
        again = decode_value(encode_value(value))
        assert again == value
        assert type(again) is type(value)
