"""Says on what a commit depends: judged where it is applied, so that no other write comes between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from clustersession.core.elements import SEEN_SUM, element_name
from clustersession.core.expiring_values import is_expired, plain_of
from clustersession.core.state import LOCAL_PREFIX, Register


class ExpectedValue(NamedTuple):
    """Is that an attribute has this value; None: that it is not there, nor as a collection.

    value: its canonical bytes, without until when it counts.
    """

    name: str
    value: bytes | None

    def holds(self, registers: Mapping[str, Register], now_ms: int) -> bool:
        """Tell whether it is so in these registers; what has expired by now is not there."""
        for stored_name in (LOCAL_PREFIX + self.name, self.name):
            register = registers.get(stored_name)
            held = None if register is None else register.value
            if held is not None and not is_expired(held, now_ms):
                return plain_of(held) == self.value
        return self.value is None and not self._has_elements(registers)

    def _has_elements(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is a collection all the same: added to while somebody deleted it."""
        for stored_name, register in registers.items():
            known = None if register.value is None else element_name(stored_name)
            if known is not None and known.attribute == self.name and known.kind != SEEN_SUM:
                return True
        return False


__all__ = ["ExpectedValue"]
