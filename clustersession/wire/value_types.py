"""Is the one list of the types of session values.

A type more has its encoder and its decoder in ``wire.values``, and its row in ``docs/values.md``.
"""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

SCALARS: frozenset[type] = frozenset({
    type(None), bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID,
})
"""These can hold nothing mutable: the same object is the same value, without encoding it."""

CONTAINERS: frozenset[type] = frozenset({list, tuple, dict, set, frozenset})

BUILT_IN: frozenset[type] = SCALARS | CONTAINERS | {bytearray, memoryview, object}
"""Types that sessions have their own way with, so that no application registers them."""
