"""Takes a session back to what it was before an attempt that is thrown away and repeated.

Who repeats requests, as pyramid_retry does, gives each attempt a session of its own; but one that
an adapter around it has opened is the same for all of them.
"""

import copy
from typing import Any

from clustersession.session.attributes import AttributeTracker
from clustersession.session.visit import Visit


class AttemptStart:
    """Remembers what a session and its visit are before an attempt."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._notes: dict[str, Any] = dict(vars(visit))
        self._content = copy.deepcopy(visit.session.copy())

    def go_back(self) -> None:
        """Drop what the attempt has changed and not saved itself."""
        visit, session = self._visit, self._visit.session
        if visit.wrote and "wrote" not in self._notes:
            return  # the application has, maybe under a new id
        kept = {"is_long": visit.is_long, "recorded_until_ms": visit.recorded_until_ms}
        vars(visit).clear()
        vars(visit).update(self._notes, **kept)
        visit.attributes = AttributeTracker(
            visit.context.settings.attribute_bytes_max, visit.context.warnings
        )
        dict.clear(session)
        if visit.key is not None and visit.stored is not None:
            visit.attributes.take(session, visit.key, visit.stored)
            visit.attributes.load_all(session)
        dict.clear(session)
        dict.update(session, self._content)
        session._changed = True  # what is not as it is stored is found at the commit
