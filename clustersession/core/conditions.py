"""Says on what a commit depends: judged where it is applied, so that no other write comes between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from clustersession.core.elements import SEEN_SUM, element_name
from clustersession.core.expiring_values import is_expired, plain_of
from clustersession.core.state import LOCAL_PREFIX, Register

_NIL = b"\xc0"
"""How None is stored."""


class ExpectedValue(NamedTuple):
    """Is that an attribute has this value; None: that it is None, or not there in any form.

    value: its canonical bytes, without until when it counts. now_ms: when it is asked; what has
    expired by then is not there. By the clock that has set the deadlines, and not by the times of
    writes, which are ahead of a clock that was set back.
    """

    name: str
    value: bytes | None
    now_ms: int

    def holds(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is so in these registers."""
        for stored_name in (LOCAL_PREFIX + self.name, self.name):
            register = registers.get(stored_name)
            held = None if register is None else register.value
            if held is not None and not is_expired(held, self.now_ms):
                return plain_of(held) == (_NIL if self.value is None else self.value)
        return self.value is None and not self._has_elements(registers)

    def _has_elements(self, registers: Mapping[str, Register]) -> bool:
        """Tell whether it is a collection all the same: added to while somebody deleted it."""
        for stored_name, register in registers.items():
            known = None if register.value is None else element_name(stored_name)
            if known is not None and known.attribute == self.name and known.kind != SEEN_SUM:
                return True
        return False


__all__ = ["ExpectedValue"]
