"""Names the note in which an agent tells its workers whether it has met its peers.

Without a note no peer was ever met: nobody else can have ended a session that is here.
"""

from typing import Final

CONTACT_NOTE: Final = "contact"
APART: Final = b"apart"
"""The agent has started, and what the peers did meanwhile may be missing."""

MET: Final = b"met"
"""It has caught up with the peers that it found, found nobody, or met the first peers of all."""
