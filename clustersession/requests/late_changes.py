"""Commits what changes after the headers went out; only no cookie can follow any more."""

from clustersession.session.manager import SessionManager
from clustersession.session.visit import Visit


def save_late(manager: SessionManager, visit: Visit) -> None:
    """Commit what changed since the response went out. Raises what ``manager.save`` raises."""
    # After a refused commit there is nothing: it would only be refused once more.
    if visit.unsaved:
        visit.answered = True
        manager.save(visit)


async def save_late_async(manager: SessionManager, visit: Visit) -> None:
    """Do what ``save_late`` does, without blocking the event loop while peers confirm."""
    if visit.unsaved:
        visit.answered = True
        await manager.save_async(visit)
