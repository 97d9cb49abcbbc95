"""Says on what a commit depends: judged where it is applied, so that no other write comes between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from clustersession.core.elements import SEEN_SUM, element_name
from clustersession.core.state import LOCAL_PREFIX, Register


class ExpectedValue(NamedTuple):
    """Is that an attribute has this value; None: that it is not there, nor as a collection.

    value: its canonical bytes.
    """

    name: str
    value: bytes | None

    def holds(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is so in these registers."""
        for stored_name in (LOCAL_PREFIX + self.name, self.name):
            register = registers.get(stored_name)
            if register is not None and register.value is not None:
                return register.value == self.value
        return self.value is None and not self._has_elements(registers)

    def _has_elements(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is a collection all the same: added to while somebody deleted it."""
        for stored_name, register in registers.items():
            known = None if register.value is None else element_name(stored_name)
            if known is not None and known.attribute == self.name and known.kind != SEEN_SUM:
                return True
        return False


__all__ = ["ExpectedValue"]
